"""The settings of the heartbeats of workers: where they are written, and how often."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from tasker_health.settings.kinds import Group, PositiveSeconds

LEDGER_SCHEMES = ("redis", "rediss", "valkey", "valkeys")
"""Those that are not a database's."""


def _ledger_url(value: SecretStr) -> SecretStr:
    scheme, is_url, _ = value.get_secret_value().partition("://")
    if not is_url or not scheme:
        raise ValueError("a SQLAlchemy URL such as postgresql://user@host/name, or redis://host:6379/0")
    return value


class WorkerSettings(Group):
    """The heartbeats of workers: what `health.worker()` writes, and what the status reads."""

    url: Annotated[SecretStr, AfterValidator(_ledger_url)] | None = Field(
        None,
        description="Where heartbeats are kept: a SQLAlchemy URL of PostgreSQL, MariaDB, MySQL or SQLite, or redis://,"
        " rediss:// or valkey://; unset: database.url.",
    )
    watch: bool | None = Field(
        None,
        description="Read the heartbeats for the status; unset: with workers.url, or with database.url and a source.",
    )
    heartbeat_seconds: PositiveSeconds = Field(5, ge=0.2, le=300, description="A worker writes one so often.")
    forget_after_seconds: PositiveSeconds = Field(
        86_400, description="A worker that has been dead for so long is no longer told."
    )
    make_table: bool = Field(
        True, description="The first worker makes the table, or brings it up to date; off: who owns the database does."
    )
    timeout_seconds: PositiveSeconds = Field(2, description="Longest wait for the store of the heartbeats.")
