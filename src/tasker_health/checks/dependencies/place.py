"""What the URL of a dependency says: where it is and who we are there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tasker_health.errors import ConfigurationError

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Place:
    """Where a dependency is.

    Attributes:
        scheme: Of the URL.
        hosts: Host and port, of each that the URL names.
        user: Who we are there; `None`: nobody.
        password: What we say to prove it.
        path: What stands behind the hosts, without the first slash; `None`: not even that.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None = field(repr=False)
    path: str | None


def place_of(check: str, url: str, ports: dict[str, int], example: str) -> Place:
    """Return what *url* says.

    Args:
        check: The name of the check.
        url: The URL; hosts are separated by commas, signs in user, password and path percent-encoded.
        ports: The schemes that are allowed, and the port of each.
        example: How to write one.

    Raises:
        ConfigurationError: It is not one; the message holds no part of it but a scheme that is known.
    """
    scheme, is_url, rest = url.partition("://")
    known = bool(is_url) and scheme in ports
    try:
        if known:
            return _parsed(scheme, rest, ports[scheme])
    except ValueError:
        pass  # its words could hold what is secret
    shown = f"{scheme}://***" if known else "***"
    raise ConfigurationError(f"check {check}: url {shown}: write it as {example}")


def _parsed(scheme: str, rest: str, default_port: int) -> Place:
    login, has_login, place = rest.rpartition("@")
    hosts, has_path, path = place.partition("/")
    user, _, password = login.partition(":")
    found = tuple(_host(host, default_port) for host in hosts.split(","))
    if "?" in place or "#" in place:
        raise ValueError
    return Place(
        scheme,
        found,
        unquote(user, errors="strict") if has_login else None,
        unquote(password, errors="strict") if has_login else None,
        unquote(path, errors="strict") if has_path else None,
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int((found and found["port"]) or default_port)
    if found is None or not 0 < port <= _LARGEST_PORT:
        raise ValueError
    return found["six"] or found["name"], port


def http_host_of(check: str, url: str) -> str:
    """Return the host that *url*, an address of HTTP, names.

    Raises:
        ConfigurationError: It is none; the message holds no part of it.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
        fits = fits and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        fits = False
    if not fits:
        remedy = "write it as https://host/path, without a user; credentials go into a header"
        raise ConfigurationError(f"check {check}: url ***: {remedy}")
    return parts.hostname or ""
