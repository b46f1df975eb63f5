"""What `cache.url` says of a Redis or Valkey: where it is, or where the sentinels are that know it, and who we are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from tasker_health.errors import SettingsError

SERVER_PORT = 6379
SENTINEL_PORT = 26379

_TLS_SCHEMES = {"rediss", "valkeys"}
_PLAIN_SCHEMES = {"redis", "valkey"}
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LARGEST_PORT = 65535
_SERVER = "{scheme}://user:password@host:6379/0, each part but the host optional, signs in them percent-encoded"
_SENTINELS = (
    "{scheme}://user:password@host:26379,host:26379/name-of-the-service/0?sentinel_username=...&sentinel_password=...,"
    " each part but a host and the name optional, signs in them percent-encoded"
)


@dataclass(frozen=True)
class Credentials:
    """Who we are, at a server; without a password nobody is asked for one."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Address:
    """Where a cache is.

    Attributes:
        hosts: Host and port of the server, or of each sentinel.
        service: What the sentinels call it; `None`: there are none.
        database: Its number.
        is_tls: Whether all of them are spoken to with TLS.
        credentials: At the server.
        sentinel_credentials: At the sentinels.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None
    database: int
    is_tls: bool
    credentials: Credentials
    sentinel_credentials: Credentials


def address_of(url: str) -> Address:
    """Return what *url* says.

    Raises:
        SettingsError: It is none of Redis, or says what we do not know; the message holds no part of it but the scheme.
    """
    scheme, _, rest = url.partition("://")
    base, _, suffix = scheme.partition("+")
    if base not in _PLAIN_SCHEMES | _TLS_SCHEMES or suffix not in {"", "sentinel"}:
        raise SettingsError("cache.url", "***", "redis://, rediss://, valkey://, valkeys://, or one with +sentinel")
    try:
        return _parsed(rest, is_tls=base in _TLS_SCHEMES, has_sentinels=bool(suffix))
    except ValueError:
        allowed = (_SENTINELS if suffix else _SERVER).format(scheme=scheme)
        raise SettingsError("cache.url", f"{scheme}://***", allowed) from None


def _parsed(rest: str, *, is_tls: bool, has_sentinels: bool) -> Address:
    """Return what stands behind the scheme, or raise `ValueError`, whose words nobody reads: they could be secret."""
    user, _, place = rest.rpartition("@")
    place, _, query = place.partition("?")
    hosts, _, path = place.partition("/")
    words = [unquote(word, errors="strict") for word in path.split("/")] if path else []
    service = words.pop(0) if has_sentinels and words else None
    if has_sentinels and not service:
        raise ValueError
    database = words.pop(0) if words else ""
    if words or not re.fullmatch(r"[0-9]{0,5}", database, re.ASCII):
        raise ValueError
    default = SENTINEL_PORT if has_sentinels else SERVER_PORT
    found = tuple(_host(host, default) for host in hosts.split(","))
    if len(found) > 1 and not has_sentinels:
        raise ValueError
    sentinel_credentials = _options(query) if query else Credentials()
    if query and not has_sentinels:
        raise ValueError
    return Address(found, service, int(database or 0), is_tls, _credentials(user), sentinel_credentials)


def _host(text: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError
    port = int(found["port"] or default_port)
    if not 0 < port <= _LARGEST_PORT:
        raise ValueError
    return found["six"] or found["name"], port


def _credentials(text: str) -> Credentials:
    user, _, password = text.partition(":")
    return _checked(unquote(user, errors="strict"), unquote(password, errors="strict"))


def _options(query: str) -> Credentials:
    given = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in given or name not in {"sentinel_username", "sentinel_password"}:
            raise ValueError
        given[name] = unquote(value, errors="strict")
    return _checked(given.get("sentinel_username", ""), given.get("sentinel_password", ""))


def _checked(user: str, password: str) -> Credentials:
    if user and not password:
        raise ValueError
    return Credentials(user or None, password or None)
