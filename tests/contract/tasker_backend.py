"""Tasker's tables in PostgreSQL, written to as Tasker writes: every key is the database's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

import canary
from contract import tasker_history, tasker_schema
from contract.ages import grown, without_ages
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Backend, Rows
from contract.tasker_recount import CAUSES, Recount
from servers import PostgresServer, sync_url
from tasker_health.database import Database
from tasker_health.model import Durations, Facts
from tasker_health.sources.tasker import TaskerSource, Wanted
from tasker_health.work import QueueFlow

READER_PASSWORD = canary.secret("reader")
SECOND_MS = 1000
_KEYS = {
    "tasker_tasks": ("task_id", {}),
    "tasker_workflow_steps": ("workflow_step_id", {"task_id": "tasker_tasks"}),
    "tasker_workflow_step_edges": (
        None,
        {"from_step_id": "tasker_workflow_steps", "to_step_id": "tasker_workflow_steps"},
    ),
    "tasker_task_transitions": (None, {"task_id": "tasker_tasks"}),
    "tasker_workflow_step_transitions": (None, {"workflow_step_id": "tasker_workflow_steps"}),
}
"""Of each table whose rows come and go, parents first: its key, and which columns are the keys of what."""


class TaskerOnPostgres(Backend):
    """In a schema of a database of its own.

    Args:
        server: Where the database is made.
        version: The newest migration that has been applied.
        schema: Where the tables stand.
    """

    histories = tasker_history.histories()
    situations = tasker_history.SITUATIONS
    lively = tasker_history.lively()
    known_versions = (20250710110830, 20250701165431)
    tables = (*tasker_schema.WORK, "schema_migrations")
    task_table = "tasker_tasks"
    least_statements = 3
    forgets_late = True
    unknown = ({"breakdown": "none"}, ("groups",))
    known_nowhere = ("groups", "queues", "connections", "drift", "age_seconds")
    nothing = Facts(
        **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other", "stuck", "blocked"), 0),
        **dict.fromkeys(("retry_queue", "in_backoff", "window_completed", "window_failed"), 0),
        **dict.fromkeys(("retries_settled", "retries_succeeded"), 0),
        tasks_by_state={},
        steps_by_state={},
        task_time=Durations(0, 0),
        step_time=Durations(0, 0),
        causes=dict.fromkeys(CAUSES, 0),
        flow=QueueFlow(arrived=0, ended=0, ready=0),
        outcomes=(),
    )

    def __init__(self, server: PostgresServer, version: int = 20250710110830, schema: str = "public") -> None:
        self.server = server
        self.version = version
        self.schema = schema
        self.url = server.new_database()
        self.bare_url = server.new_database()
        self.engine = sa.create_engine(sync_url(self.url), poolclass=sa.NullPool)
        with self.engine.begin() as connection:
            tasker_schema.create(connection, schema)
        self._metadata = sa.MetaData(schema=schema)
        self._metadata.reflect(self.engine, only=tasker_schema.TABLES)
        self.set_versions([version])

    def moved(self, url: str) -> TaskerOnPostgres:
        """Return the same tables where they can be found at *url* too."""
        other = copy(self)
        other.url = url
        other.engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
        return other

    def source(self, *, schema_missing: bool = False, **options: Any) -> TaskerSource:
        """Return a new source over these tables, or over a database that has none."""
        return self._source(self.bare_url if schema_missing else self.url, **options)

    def recount(self, raw: Rows, now_ms: float) -> Facts:
        """Return what the definitions say of *raw*."""
        return Recount(raw, round(now_ms * 1000), WINDOW_SECONDS, STUCK_AFTER_SECONDS).facts()

    def differences(self, facts: Facts, raw: Rows, now_ms: float) -> dict[str, Any]:
        """Return what *facts* and a recount do not agree on; the age of what waits may have grown by some seconds."""
        found = super().differences(msgspec.structs.replace(facts, method=None), raw, now_ms)
        first, last = self.recount(raw, now_ms), self.recount(raw, self.now_ms())
        if "flow" in found and grown(facts, first, last) and without_ages(facts).flow == without_ages(first).flow:
            del found["flow"]
        ages = found.get("oldest_pending_seconds", (None, None))
        if None not in ages and 0 <= ages[0] - ages[1] <= (self.now_ms() - now_ms) / SECOND_MS + 1:
            del found["oldest_pending_seconds"]
        return found

    def now_ms(self) -> float:
        """Return the time by the server's clock."""
        with self.engine.connect() as connection:
            return float(connection.execute(sa.text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())

    def write(self, history: Rows, now_ms: float) -> None:
        """Add *history* as it would be at *now_ms*, and commit."""
        keys: dict[str, dict[int, int]] = {}
        with self.engine.begin() as connection:
            for table, (key, owners) in _KEYS.items():
                rows = [_at(row, now_ms) for row in history[table]]
                for row in rows:
                    row.update({column: keys[owner][row[column]] for column, owner in owners.items()})
                keys[table] = self._insert(connection, self._table(table), key, rows)

    def clear(self) -> None:
        """Remove every task, and set the schema's version to what it is."""
        names = ", ".join(str(self._name(table)) for table in tasker_schema.WORK)
        self.execute(f"TRUNCATE {names}")
        self.set_versions([self.version])

    def raw(self) -> Rows:
        """Return every row as it is, all of one moment."""
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return self.raw_in(connection)

    def raw_in(self, connection: sa.Connection, columns: Mapping[str, str] | None = None) -> Rows:
        """Return every row as *connection* sees it; *columns*: of these tables, and no more than these columns."""
        found = {}
        for name, wanted in (columns or dict.fromkeys(tasker_schema.TABLES, "*")).items():
            cursor = connection.exec_driver_sql(f"SELECT {wanted} FROM {self._name(name)}")
            names = tuple(cursor.keys())
            found[name] = [dict(zip(names, row, strict=True)) for row in cursor]
        return found

    def set_versions(self, versions: Iterable[int]) -> None:
        """Let the tables say that they are of *versions*."""
        table = self._table("schema_migrations")
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table))
            for version in versions:
                connection.execute(sa.insert(table), {"version": str(version)})

    @contextlib.contextmanager
    def hidden(self, table: str) -> Iterator[None]:
        """Let *table* be missing for a while."""
        self.execute(f"ALTER TABLE {self._name(table)} RENAME TO hidden")
        try:
            yield
        finally:
            self.execute(f"ALTER TABLE {self._name('hidden')} RENAME TO {table}")

    @contextlib.contextmanager
    def restricted_source(self, time_zone: str) -> Iterator[TaskerSource]:
        """Give a source whose role may only read the schema's tables and sequences, in a database of *time_zone*."""
        schema, database = self._quoted(self.schema), sa.make_url(self.url).database
        self.execute(
            f"CREATE ROLE tasker_reader LOGIN PASSWORD '{READER_PASSWORD}'",
            f"ALTER ROLE tasker_reader SET timezone = '{time_zone}'",
            f"ALTER DATABASE {database} SET timezone = '{time_zone}'",
            f"GRANT USAGE ON SCHEMA {schema} TO tasker_reader",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO tasker_reader",
            f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO tasker_reader",
        )
        url = sa.make_url(self.url).set(username="tasker_reader", password=READER_PASSWORD)
        yield self._source(url.render_as_string(hide_password=False))
        self.execute(
            *("DROP OWNED BY tasker_reader", "DROP ROLE tasker_reader"), f"ALTER DATABASE {database} RESET timezone"
        )

    def lockable(self) -> TaskerOnPostgres:
        """Return itself."""
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every reader out of the work, as a migration does."""
        with self.engine.begin() as connection:
            names = ", ".join(map(self._name, tasker_schema.WORK))
            connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
            yield

    def a_write(self) -> str:
        """Return a statement that would change a table."""
        return f"UPDATE {self._name('tasker_tasks')} SET complete = true"

    def execute(self, *statements: str) -> None:
        """Run *statements*, each in a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _source(self, url: str, **options: Any) -> TaskerSource:
        wanted = {
            "schema": self.schema,
            "window_seconds": WINDOW_SECONDS,
            "stuck_after_seconds": STUCK_AFTER_SECONDS,
            **{name: options.pop(name) for name in options.keys() & {field.name for field in fields(Wanted)}},
        }
        seconds = options.pop("statement_timeout_seconds", 30)
        databases = Database(url, statement_timeout_seconds=seconds), Database(url, statement_timeout_seconds=60)
        return TaskerSource("tasker", *databases, Wanted(**wanted), **{"verify": False, **options})

    def _insert(
        self, connection: sa.Connection, table: sa.Table, key: str | None, rows: list[dict[str, Any]]
    ) -> dict[int, int]:
        """Insert *rows*, whose keys the database gives; return which it gave."""
        if not rows:
            return {}
        if key is None:
            connection.execute(sa.insert(table), rows)
            return {}
        local = [row.pop(key) for row in rows]
        statement = sa.insert(table).returning(table.c[key], sort_by_parameter_order=True)
        return dict(zip(local, connection.execute(statement, rows).scalars(), strict=True))

    def _table(self, name: str) -> sa.Table:
        return self._metadata.tables[f"{self.schema}.{name}"]

    def _name(self, table: str) -> str:
        return f"{self._quoted(self.schema)}.{table}"

    def _quoted(self, name: str) -> str:
        return str(self.engine.dialect.identifier_preparer.quote(name))


def _at(row: dict[str, Any], now_ms: float) -> dict[str, Any]:
    """Return *row* with its times as they are, in UTC, when it is *now_ms*."""
    now = datetime.fromtimestamp(now_ms / SECOND_MS, UTC).replace(tzinfo=None)
    times = {
        column: now + timedelta(microseconds=row[column])
        for column in row.keys() & set(tasker_history.TIME_COLUMNS)
        if row[column] is not None
    }
    return {**row, **times}
