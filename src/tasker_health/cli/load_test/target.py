"""Where a run asks, and that it may: only this machine, unless whoever runs it says that the other one is theirs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tasker_health.cli.serve import is_loopback
from tasker_health.cli.trust import own_server
from tasker_health.deadline import in_thread, within
from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings

_EXAMPLE = "http://127.0.0.1:8080/tasker/health"
_PATIENCE_SECONDS = 5.0
_SPOKEN_TO_PLAIN = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}


@dataclass(frozen=True)
class Base:
    """The address below which the endpoints stand, as it was given.

    Attributes:
        secure: Whether it is https.
        host: Name or address, without brackets.
        port: Where it listens.
        path: Such as `/tasker/health`, without a slash at the end.
    """

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        """It again, as a URL."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.path}"


def bracketed(host: str) -> str:
    """Return *host* as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def base_of(url: str | None, settings: Settings) -> Base:
    """Return what *url* names; without one, the server of *settings*.

    Raises:
        ConfigurationError: It is no such URL, or holds what would be in every report.
    """
    if url is None:
        return Base(*own_server(settings))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{_shown(url)}: no URL; allowed is one such as {_EXAMPLE}") from None
    _require_plain(url, parts)
    secure = parts.scheme == "https"
    return Base(secure, str(parts.hostname), port or (443 if secure else 80), parts.path.rstrip("/"))


def _require_plain(url: str, parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ConfigurationError("the URL holds a user or a password: give them as --basic -, or --token -")
    is_clean = all(32 < ord(c) < 127 for c in url)  # noqa: PLR2004
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or not is_clean:
        raise ConfigurationError(f"{_shown(url)}: allowed is the base of the endpoints, such as {_EXAMPLE}")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{_shown(url)}: without ? and #; such as {_EXAMPLE}")
    last = parts.path.rstrip("/").rpartition("/")[2]
    if last in {"live", "ready", "status"}:
        raise ConfigurationError(
            f"{_shown(url)}: the base is wanted, such as {_EXAMPLE}; --endpoints {last} asks that one alone"
        )


def _shown(url: str) -> str:
    """Return *url* for people, without what may be a password before an @, or a token after a ?."""
    return repr(url.rpartition("@")[2].partition("?")[0].partition("#")[0][:200])


async def addresses_of(base: Base, *, is_own: bool) -> list[str]:
    """Return the addresses of *base*; the run asks one of these, whatever the name comes to mean meanwhile.

    Args:
        base: Where to ask.
        is_own: Whether whoever runs this has said that the host is theirs.

    Raises:
        ConfigurationError: There are none, or one of them is not of this machine and not said to be theirs.
    """

    def resolve() -> list[Any]:
        return socket.getaddrinfo(base.host, base.port, type=socket.SOCK_STREAM)

    try:
        found = await within(in_thread(resolve, "load-test-name"), _PATIENCE_SECONDS)
    except TimeoutError:
        raise ConfigurationError(f"{base.host}: its address is not answered within {_PATIENCE_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or "no name"
        raise ConfigurationError(f"{base.host}: {words}; is the name right?") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    strange = [address for address in addresses if not is_loopback(address)]
    if strange and not is_own:
        which = strange[0] if strange[0] == base.host else f"{base.host} is {', '.join(addresses)}, and {strange[0]}"
        raise ConfigurationError(
            f"{which} is not this machine: load is put on others only by those who answer for them;"
            " if you do, say --i-own-this-host"
        )
    return addresses


async def reached(base: Base, addresses: list[str], context: ssl.SSLContext | None, name: str) -> str:
    """Return the first of *addresses* that takes a connection.

    Args:
        base: Where to ask.
        addresses: What was found to be allowed.
        context: What verifies the server, for https.
        name: What the certificate must say.

    Raises:
        ConfigurationError: None does; why, of the last.
    """
    words = ""
    for address in addresses:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                server_name = name if context is not None else None
                _, writer = await asyncio.open_connection(address, base.port, ssl=context, server_hostname=server_name)
        except TimeoutError:
            words = f"takes no connection within {_PATIENCE_SECONDS:g} s; is the server hung?"
        except OSError as error:
            words = why_not(error)
        else:
            with contextlib.suppress(OSError):
                writer.transport.abort()
            return address
    raise ConfigurationError(f"{base.url}: {words}")


def why_not(error: OSError) -> str:
    """Return why there is no connection, and what to do."""
    refused = getattr(error, "verify_message", "")
    if refused:
        return f"its certificate is refused: {refused}; --ca-file names whom to trust, --server-name the name in it"
    if getattr(error, "reason", None) in _SPOKEN_TO_PLAIN:
        return "what answers there does not speak TLS; is it http://?"
    words = error.strerror or str(error) or "the connection was ended"
    if isinstance(error, ConnectionRefusedError):  # asyncio puts the address into the words, and libraries more
        words = "connection refused"
    return f"{words}; is the server started, and is this its address?"
