"""Who is asked, and how: the address, what vouches for it, and what we show of ourselves."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tasker_health.cli.trust import Trust, own_server
from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings

_ENDPOINTS = ("status", "ready", "live", "startup", "history", "stuck")


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


def target_of(url: str | None, settings: Settings, trust: Trust, authorization: str | None) -> Target:
    """Return the service at *url*, or the one that *settings* start on this machine.

    Raises:
        ConfigurationError: It is no address that can be asked, or the certificates cannot be read.
    """
    secure, host, port, path = own_server(settings) if url is None else _split(url)
    return Target(
        host,
        port,
        path or f"{settings.server.prefix}/health",
        trust.context() if secure else None,
        server_name=trust.server_name or "",
        authorization=authorization,
    )


def _split(url: str) -> tuple[bool, str, int, str]:
    """Return whether it is https, host, port and the path up to `/health`."""
    wrong = "allowed are http://host:port/tasker/health and https://..., without user, query and fragment"
    # What stands before an @ may be a password, and what stands after a ? a token.
    shown = url.rpartition("@")[2].partition("?")[0].partition("#")[0]
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
