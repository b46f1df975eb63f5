"""The table of heartbeats: its statements in each dialect."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import Any

from tasker_health.errors import SettingsError

TABLE = "tasker_health_workers"
CLOCK_SLACK_SECONDS = 1.0

_COLUMNS = (
    *("worker_id", "engine", "host", "pid", "version", "queues", "running", "running_count", "done", "failed"),
    *("lag_seconds", "idle_seconds", "stalled", "period_seconds", "document"),
)


@dataclass(frozen=True)
class Dialect:
    """What one database says in its own way.

    Attributes:
        now: The clock, in seconds since the epoch, read when the statement is run.
        conflict: What stands between the values of a row that is there already and the new ones.
        new: The new value of a column then.
        before_write: What a transaction that writes begins with, if anything.
        cleaning: Deletes a few rows that are too old, or of a time to come.
        pair: A beat as JSON: its time and its document.
        joined: Many of them, with commas between.
        before_read: What a transaction that reads begins with, if anything.
    """

    now: str
    conflict: str
    new: str
    before_write: str
    cleaning: str
    pair: str = "'[' || beat_at || ',' || document || ']'"
    joined: str = "group_concat(pair, ',')"
    before_read: str = ""


_OLD = "beat_at < $now - :forget OR beat_at > $now + :forget"
_POSTGRESQL = Dialect(
    now="extract(epoch FROM clock_timestamp())::double precision",
    conflict="ON CONFLICT (worker_id) DO UPDATE SET",
    new="excluded.{}",
    before_write="SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # What another writer holds is not waited for.
    cleaning="DELETE FROM $table WHERE worker_id = ANY (ARRAY("
    "SELECT worker_id FROM $table WHERE $old LIMIT 100 FOR UPDATE SKIP LOCKED))",
    joined="string_agg(pair, ',')",
)
_SQLITE = Dialect(
    now="((julianday('now') - 2440587.5) * 86400.0)",
    conflict="ON CONFLICT (worker_id) DO UPDATE SET",
    new="excluded.{}",
    before_write="",
    cleaning="DELETE FROM $table WHERE worker_id IN (SELECT worker_id FROM $table WHERE $old LIMIT 100)",
)
_MYSQL = Dialect(
    # Not UNIX_TIMESTAMP(NOW()): in the hour that a session's time zone has twice it would be one of two.
    now="(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1000000e0)",
    conflict="ON DUPLICATE KEY UPDATE",
    new="VALUES({})",
    before_write="",
    cleaning="DELETE FROM $table WHERE $old LIMIT 100",
    pair="concat('[', beat_at, ',', document, ']')",
    joined="group_concat(pair SEPARATOR ',')",
    # It cuts what is longer without an error: at 1 KB in MySQL.
    before_read="SET SESSION group_concat_max_len = 16777216",
)
_DIALECTS = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE, "mysql": _MYSQL, "mariadb": _MYSQL}

_WRITE = """
INSERT INTO $table ($columns, started_at, beat_at) VALUES ($values, $now - :up_seconds, $now)
$conflict $changes, beat_at = $new_beat, started_at = $new_start
"""
# A few values in place of a thousand rows, which take several times as long to carry and to read; in no order, which
# matters only where there are more than are wanted.
_READ = """
SELECT $joined, $now FROM (
    SELECT $pair AS pair, row_number() OVER () % 16 AS part
    FROM (SELECT beat_at, document FROM $table LIMIT :most) kept
) parted GROUP BY part
"""
_READ_ONE_BY_ONE = """
SELECT $pair, $now FROM (SELECT beat_at, document FROM $table ORDER BY beat_at DESC LIMIT :most) newest
"""
_LEAVE = "DELETE FROM $table WHERE worker_id = :worker_id"


def dialect_of(name: str) -> Dialect:
    """Return the dialect of that *name* of SQLAlchemy's.

    Raises:
        SettingsError: Heartbeats are not kept there.
    """
    if name not in _DIALECTS:
        raise SettingsError(
            "workers.url", f"{name}://", "heartbeats are kept in PostgreSQL, MariaDB, MySQL, SQLite, Redis or Valkey"
        )
    return _DIALECTS[name]


def write_statement(dialect: Dialect) -> str:
    """Return what puts a row in the place of the worker's last one, at the database's time."""
    changes = [f"{name} = {dialect.new.format(name)}" for name in _COLUMNS if name != "worker_id"]
    return _spelled(
        _WRITE,
        dialect,
        columns=", ".join(_COLUMNS),
        values=", ".join(f":{name}" for name in _COLUMNS),
        conflict=dialect.conflict,
        changes=", ".join(changes),
        new_beat=dialect.new.format("beat_at"),
        new_start=dialect.new.format("started_at"),
    )


def read_statement(dialect: Dialect, *, one_by_one: bool = False) -> str:
    """Return what reads the newest beats, and the database's time: some pairs of time and document in a row, or one."""
    statement = _READ_ONE_BY_ONE if one_by_one else _READ
    return _spelled(statement, dialect, pair=dialect.pair, joined=dialect.joined)


def columns_statement() -> str:
    """Return what is understood only where the table has our columns; it reads no row."""
    return f"SELECT {', '.join(_COLUMNS)}, started_at, beat_at FROM {TABLE} WHERE 1 = 0"  # noqa: S608 -- names of ours


def leave_statement(dialect: Dialect) -> str:
    """Return what takes a worker's row away."""
    return _spelled(_LEAVE, dialect)


def cleaning_statement(dialect: Dialect) -> str:
    """Return what deletes rows that are older than `:forget` seconds."""
    return _spelled(dialect.cleaning, dialect, old=Template(_OLD).substitute(now=dialect.now))


def _spelled(statement: str, dialect: Dialect, **words: str) -> str:
    return Template(statement).substitute(table=TABLE, now=dialect.now, **words)


def is_missing(error: Any) -> bool:
    """Return whether the driver's *error* says that there is no such table."""
    number = error.args[0] if getattr(error, "args", ()) else None
    is_no_table = number == 1146 or "no such table: tasker_health_" in str(error)  # noqa: PLR2004 -- MySQL's number of it
    return is_no_table or getattr(error, "sqlstate", None) == "42P01"


def is_deadlock(error: Any) -> bool:
    """Return whether the driver's *error* says that this one of two that waited for each other is to begin anew.

    MySQL's 1213 (Server Error Message Reference, ER_LOCK_DEADLOCK), PostgreSQL's 40P01 and 40001 (Appendix A).
    """
    number = error.args[0] if getattr(error, "args", ()) else None
    return number == 1213 or getattr(error, "sqlstate", None) in {"40P01", "40001"}  # noqa: PLR2004 -- MySQL's number


def is_another(error: Any) -> bool:
    """Return whether the driver's *error* says that the table is of another form than ours."""
    number = error.args[0] if getattr(error, "args", ()) else None
    words = str(error)
    return (
        getattr(error, "sqlstate", None) in {"42703", "42P10", "23502", "42804"}
        or number in {1054, 1364}
        or "has no column" in words
        or "no such column" in words
        or "NOT NULL constraint failed" in words
    )
