"""A row of Django's DATABASES as a URL of ours, where that says all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tasker_health.errors import ConfigurationError

_POSTGRESQL = ("django.db.backends.postgresql", "django.contrib.gis.db.backends.postgis")
_MYSQL = ("django.db.backends.mysql", "django.contrib.gis.db.backends.mysql")
_SQLITE = ("django.db.backends.sqlite3", "django.contrib.gis.db.backends.spatialite")

_OF_LIBPQ = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslnegotiation", "sslcertmode"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "require_auth"),
        *("gssencmode", "krbsrvname", "hostaddr", "passfile", "service", "options", "target_session_attrs"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
    }
)
"""Options that say where a server is, who asks and how it is protected; the connection of a probe takes them over."""

_NOT_FOR_PROBES = {
    "postgresql": frozenset({"application_name", "connect_timeout", "isolation_level", "pool", "server_side_binding"}),
    "mysql": frozenset(
        {
            *("charset", "collation", "use_unicode", "sql_mode", "init_command", "isolation_level"),
            *("connect_timeout", "read_timeout", "write_timeout"),
        }
    ),
}
"""Options about how the application works; a probe asks the same without them."""


def is_in_memory(settings: Mapping[str, Any]) -> bool:
    """Whether each connection would be another database, or the application's own one in this process."""
    name = str(settings.get("NAME") or "")
    return settings["ENGINE"] in _SQLITE and (name in {"", ":memory:"} or "mode=memory" in name)


def url_of(settings: Mapping[str, Any]) -> str | None:
    """Return where *settings*, a row of DATABASES, lead to; `None`: only Django's own driver knows."""
    engine, options = settings["ENGINE"], dict(settings.get("OPTIONS") or {})
    url = None
    if engine in _POSTGRESQL:
        url = _postgresql(settings, options)
    elif engine in _MYSQL:
        url = _mysql(settings, options)
    elif engine in _SQLITE and not str(settings["NAME"]).startswith("file:"):
        url = sa.URL.create("sqlite", database=str(settings["NAME"]))
    return None if url is None else url.render_as_string(hide_password=False)


def _postgresql(settings: Mapping[str, Any], options: dict[str, Any]) -> sa.URL | None:
    query = {name: value for name, value in options.items() if name not in _NOT_FOR_PROBES["postgresql"]}
    host = str(settings.get("HOST") or "")
    if not query.keys() <= _OF_LIBPQ or "," in host:
        return None
    words = {name: str(value) for name, value in query.items()}
    if host.startswith(("/", "@")):  # the folder of a socket
        words, host = {**words, "host": host}, ""
    return _url("postgresql", settings, host, words)


def _mysql(settings: Mapping[str, Any], options: dict[str, Any]) -> sa.URL | None:
    host = str(settings.get("HOST") or "")
    # For `localhost` and nothing Django's driver takes the socket that its own library knows.
    if not options.keys() <= _NOT_FOR_PROBES["mysql"] or host in {"", "localhost"}:
        return None
    if host.startswith("/"):
        return _url("mysql", settings, "localhost", {"unix_socket": host})
    return _url("mysql", settings, host, {})


def _url(backend: str, settings: Mapping[str, Any], host: str, query: Mapping[str, str]) -> sa.URL:
    port = str(settings.get("PORT") or "")
    if port and not port.isdecimal():
        raise ConfigurationError(f"DATABASES: the PORT of the {backend} at {host!r} is not a number; correct it")
    return sa.URL.create(
        backend,
        str(settings.get("USER") or "") or None,
        str(settings.get("PASSWORD") or "") or None,
        host or None,
        int(port) if port else None,
        str(settings.get("NAME") or "") or None,
        query,
    )
