"""Who is asked, and how: the address, what vouches for it, and what we show of ourselves."""

from __future__ import annotations

import base64
import ipaddress
import ssl
import sys
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings

_ENDPOINTS = ("status", "ready", "live", "startup", "history")
_MOST_CHARACTERS = 4096


@dataclass(frozen=True)
class Target:
    """One service.

    Attributes:
        host, port, path: Where its endpoints stand; the path ends in `/health` as a rule, and without a slash.
        context: What vouches for it; `None`: plain HTTP.
        server_name: Name that its certificate must have.
        authorization: The header's value; `None`: nobody in particular asks.
    """

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None = None
    server_name: str = ""
    authorization: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The address for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Trust:
    """How a certificate is judged, in the words of `probe`."""

    ca_file: str = ""
    server_name: str = ""
    insecure: bool = False


def target_of(url: str | None, settings: Settings, trust: Trust, authorization: str | None) -> Target:
    """Return the service at *url*, or the one that *settings* start on this machine.

    Raises:
        ConfigurationError: It is no address that can be asked, or the certificates cannot be read.
    """
    server = settings.server
    if url is None:
        secure, host, port = server.tls_certificate_file is not None, _reachable(server.host), server.port
        path = f"{server.prefix}/health"
        if not port:
            raise ConfigurationError("server.port = 0: any port; give the URL that the server printed at its start")
    else:
        secure, host, port, path = _split(url)
        path = path or f"{server.prefix}/health"
    return Target(
        host,
        port,
        path,
        _context(trust) if secure else None,
        server_name=trust.server_name,
        authorization=authorization,
    )


def authorization_of(token: str | None, basic: str | None) -> str | None:
    """Return the header for a bearer *token* or for *basic*, `user:password`; `-` is read from standard input.

    Raises:
        ConfigurationError: There are both, or it cannot be sent.
    """
    if token is not None and basic is not None:
        raise ConfigurationError("--token and --basic: give one of the two")
    if token is not None:
        given = _given(token, "--token")
        if not given.isascii() or any(each.isspace() for each in given):
            raise ConfigurationError("--token: has characters that no token has; letters, digits and signs are allowed")
        return f"Bearer {given}"
    if basic is not None:
        given = _given(basic, "--basic")
        if ":" not in given:
            raise ConfigurationError("--basic: no colon in it; write USER:PASSWORD")
        return f"Basic {base64.b64encode(given.encode()).decode()}"
    return None


def _given(value: str, option: str) -> str:
    if value != "-":
        given = value
    elif sys.stdin is None:
        raise ConfigurationError(f"{option} -: there is no standard input")
    elif sys.stdin.isatty():
        import getpass

        given = getpass.getpass("Token: " if option == "--token" else "USER:PASSWORD: ")
    else:
        given = sys.stdin.readline(_MOST_CHARACTERS + 1).rstrip("\r\n")
    if not given or len(given) > _MOST_CHARACTERS or not given.isprintable():
        raise ConfigurationError(
            f"{option}: empty, too long, or not text; allowed are 1 to {_MOST_CHARACTERS} characters"
        )
    return given


def _reachable(host: str) -> str:
    """Return where to ask who listens on *host*, which can be every address of this machine."""
    plain = host.strip("[]")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    if not address.is_unspecified:
        return plain
    return "127.0.0.1" if isinstance(address, ipaddress.IPv4Address) else "::1"


def _split(url: str) -> tuple[bool, str, int, str]:
    """Return whether it is https, host, port and the path up to `/health`."""
    wrong = "allowed are http://host:port/tasker/health and https://..., without user, query and fragment"
    shown = url.rpartition("@")[2]  # what stands before may be a password
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"URL {shown!r}: {wrong}")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ConfigurationError(f"URL {shown!r}: {wrong}") from None
    strange = parts.username is not None or parts.password is not None or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not host or strange or port == 0:
        raise ConfigurationError(f"URL {shown!r}: {wrong}")
    path = parts.path.rstrip("/")
    before, _, last = path.rpartition("/")
    if last in _ENDPOINTS:
        path = before
    return parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), path


def _context(trust: Trust) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=trust.ca_file or None)
    except (OSError, ValueError) as error:
        words = "no certificate as PEM" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "no path")
        raise ConfigurationError(f"--ca-file {trust.ca_file}: {words}; name a file with certificates") from None
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
