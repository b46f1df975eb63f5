"""The table of the cache in SQL: its columns, what is asked of it, and what each database says in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Template
from typing import Any

import sqlalchemy as sa

from tasker_health.cache import MOST_BYTES
from tasker_health.errors import SettingsError
from tasker_health.model import Reason

TABLE = "tasker_health_cache"
"""Name of the table, in the first schema of the search path that has it."""

CLOCK_SLACK_SECONDS = 1
"""What was put there later than this from now was put there before the database's clock was set back."""


@dataclass(frozen=True)
class Dialect:
    """What one database says in its own way.

    Attributes:
        create: Makes the table.
        now: The clock, in seconds since the epoch, read when the statement has the locks that it waits for.
        round_up_seconds: The longest time for which the clock stands still.
        before_write: What a transaction that writes begins with, if anything.
        clean: Deletes a few keys that have outlived their time.
        trouble: From the driver's exception to its reason, where reasons.py does not know it; `None` there.
        is_table_missing: Whether the driver's exception says so.
        is_made_meanwhile: Whether it says that somebody has made the table at the same moment.
    """

    create: str
    now: str
    round_up_seconds: float
    before_write: str
    clean: str
    trouble: Callable[[Any], Reason | None]
    is_table_missing: Callable[[Any], bool]
    is_made_meanwhile: Callable[[Any], bool]


def _state(error: Any) -> str:
    return getattr(error, "sqlstate", None) or ""


_ANOTHER_TABLE = {"42703", "42804", "42883", "42809", "42P10", "22P02", "22001"}


def _postgresql_trouble(error: Any) -> Reason | None:
    state = _state(error)
    if state == "0A000":
        return Reason.READ_ONLY  # an unlogged table is not there during recovery, not even to be read
    # Of another column, type, length, kind or key than ours, or with a constraint that ours has not.
    return Reason.INVALID if state in _ANOTHER_TABLE or state.startswith("23") else None


def _sqlite_trouble(error: Any) -> Reason | None:
    # The statements are right: one that cannot be compiled meets another table than ours.
    name = getattr(error, "sqlite_errorname", "")
    is_another = name in {"SQLITE_ERROR", "SQLITE_MISMATCH"} or name.startswith("SQLITE_CONSTRAINT")
    return Reason.INVALID if is_another else None


_POSTGRESQL = Dialect(
    create=f"CREATE UNLOGGED TABLE IF NOT EXISTS {TABLE} (key text PRIMARY KEY, value bytea, holder text,"
    " put_at double precision NOT NULL, ends_at double precision NOT NULL)",
    now="extract(epoch FROM clock_timestamp())::double precision",
    round_up_seconds=0.0,
    # Where `serializable` is the default, the second of two writers would be refused instead of waiting.
    before_write="SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # An array is made once, a subquery perhaps again; what another writer holds is not waited for.
    clean="DELETE FROM $table WHERE key = ANY (ARRAY("
    "SELECT key FROM $table WHERE ends_at <= $now LIMIT 100 FOR UPDATE SKIP LOCKED))",
    trouble=_postgresql_trouble,
    is_table_missing=lambda error: _state(error) == "42P01",
    # IF NOT EXISTS looks before it locks: the second of two finds the name of the table, or of its type, taken.
    is_made_meanwhile=lambda error: _state(error) in {"23505", "42P07", "42710"},
)
_SQLITE = Dialect(
    create=f"CREATE TABLE IF NOT EXISTS {TABLE} (key TEXT NOT NULL PRIMARY KEY, value BLOB, holder TEXT,"
    " put_at REAL NOT NULL, ends_at REAL NOT NULL)",
    now="((julianday('now') - 2440587.5) * 86400.0)",
    round_up_seconds=0.001,
    before_write="",
    clean="DELETE FROM $table WHERE key IN (SELECT key FROM $table WHERE ends_at <= $now LIMIT 100)",
    trouble=_sqlite_trouble,
    is_table_missing=lambda error: f"no such table: {TABLE}" in str(error),
    is_made_meanwhile=lambda _error: False,
)
_DIALECTS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}

# SQLite's substr() makes NULL of no bytes.
GET = """
SELECT CASE WHEN length(value) > $most THEN substr(value, 1, $most) ELSE value END, $now - put_at, ends_at FROM $table
WHERE key = :key AND (ends_at > $now OR ends_at IS NULL)
"""
PUT = """
INSERT INTO $table (key, value, put_at, ends_at) VALUES (:key, :value, $now, $now + :seconds)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, holder = NULL, put_at = $now, ends_at = $now + :seconds
"""
ACQUIRE = """
INSERT INTO $table (key, holder, put_at, ends_at) VALUES (:key, :holder, $now, $now + :seconds)
ON CONFLICT (key) DO UPDATE SET value = NULL, holder = excluded.holder, put_at = $now, ends_at = $now + :seconds
WHERE $table.holder = excluded.holder OR $table.ends_at <= $now OR $table.put_at > $now + $slack
"""
RELEASE = "DELETE FROM $table WHERE key = :key AND holder = :holder"


def table_statement(dialect: str) -> str:
    """Return the statement that makes the table of the cache in a database of *dialect*.

    For an owner whose application may not make tables; it also needs the rights to SELECT, INSERT, UPDATE and DELETE.

    Raises:
        SettingsError: It is neither `postgresql` nor `sqlite`.
    """
    return dialect_of(dialect).create


def dialect_of(name: str) -> Dialect:
    """Return the dialect of that *name* of SQLAlchemy's.

    Raises:
        SettingsError: It is neither `postgresql` nor `sqlite`.
    """
    if name not in _DIALECTS:
        raise SettingsError(
            "cache.url", "sql://", f"this cache is a table in database.url, on PostgreSQL or SQLite, not on {name}"
        )
    return _DIALECTS[name]


def spelled(statement: str, dialect: Dialect) -> sa.TextClause:
    """Return *statement* as *dialect* says it, its values still to be bound."""
    words = {"table": TABLE, "now": dialect.now, "most": MOST_BYTES + 1, "slack": CLOCK_SLACK_SECONDS}
    return sa.text(Template(statement).substitute(words))
