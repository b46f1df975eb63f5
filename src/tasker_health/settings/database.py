"""The settings of what is asked over the network: the database and the cache."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from tasker_health.settings.kinds import Count, Group, PositiveSeconds, Seconds

CACHE_SCHEMES = (
    *("memory", "sql", "memcached"),
    *("redis", "rediss", "redis+sentinel", "rediss+sentinel"),
    *("valkey", "valkeys", "valkey+sentinel", "valkeys+sentinel"),
)

TLS_SCHEMES = frozenset({"rediss", "valkeys"})
"""Those that are asked over TLS, also with `+sentinel`."""


def _cache_url(value: SecretStr) -> SecretStr:
    scheme, is_url, rest = value.get_secret_value().partition("://")
    if not is_url or scheme not in CACHE_SCHEMES or (scheme in {"memory", "sql"} and rest):
        raise ValueError(
            "memory:// (each process its own), sql:// (in database.url), redis://host:6379/0, rediss:// (TLS), valkey://,"
            " redis+sentinel://host:26379,host:26379/name, memcached://host:11211"
        )
    return value


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise ValueError("1 to 64 of A-Z, a-z, 0-9, ., _ and -")
    return value


class CacheSettings(Group):
    """Where the fleet keeps what one process has read for the status."""

    url: Annotated[SecretStr, AfterValidator(_cache_url)] = Field(
        SecretStr("memory://"),
        description="memory:// (each process its own), sql:// (a table in database.url), redis://, rediss://, valkey://,"
        " redis+sentinel:// or memcached://, with user, password and host as any URL.",
    )
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        "tasker_health", description="First part of every key."
    )
    signing_key: SecretStr | None = Field(
        None, min_length=16, description="Key that entries of a shared cache are signed with; unset: they are trusted."
    )
    timeout_seconds: PositiveSeconds = Field(0.25, description="Longest wait for one answer of a shared cache.")
    tls_ca_file: str | None = Field(
        None, min_length=1, description="PEM file of who signs the cache's certificate; unset: who the machine trusts."
    )


class DatabaseSettings(Group):
    """The database that readiness asks, on connections of its own."""

    url: SecretStr | None = Field(None, description="SQLAlchemy URL; unset: no database check.")
    require_writable: bool = Field(False, description="A database that cannot be written to is not ready.")
    connect_timeout_seconds: PositiveSeconds = Field(2, description="Longest wait for a connection.")
    statement_timeout_seconds: PositiveSeconds = Field(5, description="Longest time of one statement of ours.")
    pool_size: Count = Field(
        5,
        le=100,
        description="Most connections of ours to one database for the checks, and for each source; one is opened only"
        " when all others are busy.",
    )
    checkout_timeout_seconds: PositiveSeconds = Field(
        5, description="Longest wait for one of them to be free, within the deadline of the question."
    )
    prepared_statements: bool = Field(
        True,
        description="PostgreSQL: prepare statements that are asked again and again; false behind PgBouncer in"
        " transaction mode (where they are left off anyway, one question later).",
    )
    keepalive_seconds: Seconds = Field(
        30, description="Silence after which TCP asks whether the server is still there; 0: as the machine does."
    )
