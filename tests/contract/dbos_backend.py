"""DBOS' own tables, made by DBOS' own migrations, in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dbos._migration as migrations
import msgspec
import sqlalchemy as sa

import canary
from contract import dbos_history
from contract.ages import grown, without_ages
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Backend, Rows
from contract.dbos_recount import Recount
from servers import PostgresServer, sync_url
from tasker_health.database import Database
from tasker_health.model import CountingMethod, Durations, Facts
from tasker_health.sources.dbos import DbosSource
from tasker_health.work import Cause, QueueFlow
from tasker_health.workers import Workers

READER_PASSWORD = canary.secret("reader")
SCHEMA = "dbos"


class DbosBackend(Backend):
    """DBOS' tables of one schema version; a subclass says in which database.

    Args:
        url: An empty database.
        bare_url: Another one, which stays empty.
        version: How many of DBOS' migrations are applied.

    Attributes:
        workers: What the roster of its sources says, and the recount knows; `None`: nobody can know.
    """

    histories = dbos_history.histories()
    situations = dbos_history.SITUATIONS
    lively = dbos_history.lively()
    known_versions = (125, 123)
    tables = ("workflow_status", "operation_outputs", "dbos_migrations")
    task_table = "workflow_status"
    least_statements = 6
    unknown = (
        {"attempts_recorded": False},
        ("blocked", "retry_queue", "in_backoff", "retries_settled", "retries_succeeded"),
    )
    known_nowhere = (
        *("blocked", "connections", "tasks_by_state", "steps_by_state", "oldest_pending_seconds", "groups"),
        *("method", "drift", "age_seconds"),
    )
    nothing = Facts(
        **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other", "stuck"), 0),
        **dict.fromkeys(("retry_queue", "in_backoff", "window_completed", "window_failed"), 0),
        **dict.fromkeys(("retries_settled", "retries_succeeded"), 0),
        blocked=None,
        task_time=Durations(0, 0),
        step_time=Durations(0, 0),
        causes=dict.fromkeys((Cause.NOT_TAKEN, Cause.RUNNING_LONG, Cause.NO_PROGRESS), 0),
        flow=QueueFlow(arrived=0, ended=0, ready=0),
        queues={},
        outcomes=(),
    )
    schema: str | None
    workers: Workers | None = None

    def __init__(self, url: str, bare_url: str, version: int) -> None:
        self.url = url
        self.bare_url = bare_url
        self.version = version
        self.engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
        self._migrate()
        self._metadata = sa.MetaData(schema=self.schema)
        self._metadata.reflect(self.engine, only=(*self.tables, "queues"))
        with self.engine.begin() as connection:
            for name, concurrency in dbos_history.QUEUES.items():
                connection.execute(sa.insert(self._table("queues")), {"name": name, "concurrency": concurrency})

    async def read(self, _deadline_seconds: float) -> Workers | None:
        """Return who works, as a roster does."""
        return self.workers

    def source(self, *, schema_missing: bool = False, **options: Any) -> DbosSource:
        """Return a new source over these tables, or over a database that has none."""
        return self._source(self.bare_url if schema_missing else self.url, **options)

    def recount(self, raw: Rows, now_ms: float) -> Facts:
        """Return what the definitions say of *raw*."""
        windows = (WINDOW_SECONDS * 1000, STUCK_AFTER_SECONDS * 1000)
        tasks, operations = raw["workflow_status"], raw["operation_outputs"]
        return Recount(tasks, operations, round(now_ms), *windows, queues=raw["queues"], workers=self.workers).facts()

    def differences(self, facts: Facts, raw: Rows, now_ms: float) -> dict[str, Any]:
        """Return the figures that a recount does not find; it knows nothing of ways to count, and ages grow."""
        assert facts.method is CountingMethod.TALLY
        facts = msgspec.structs.replace(facts, method=None, drift=None)
        first, last = self.recount(raw, now_ms), self.recount(raw, self.now_ms())
        found = super().differences(facts, raw, now_ms)
        if found.keys() & {"flow", "queues"} and grown(facts, first, last):
            plain, counted = without_ages(facts), without_ages(first)
            for name in ("flow", "queues"):
                if getattr(plain, name) == getattr(counted, name):
                    found.pop(name, None)
        return found

    def write(self, history: Rows, now_ms: float) -> None:
        """Add *history* as it would be at *now_ms*, and commit."""
        with self.engine.begin() as connection:
            for table, rows in history.items():
                if rows:
                    connection.execute(sa.insert(self._table(table)), [_at(row, now_ms) for row in rows])

    def renamed(self, history: Rows, prefix: str) -> Rows:
        """Return *history* with other names of its tasks."""
        names = ("workflow_uuid", "child_workflow_id", "parent_workflow_id")
        return {
            table: [{**row, **{name: f"{prefix}{row[name]}" for name in names if row.get(name)}} for row in rows]
            for table, rows in history.items()
        }

    def clear(self) -> None:
        """Remove every task, and set the schema's version to what it is."""
        with self.engine.begin() as connection:
            for table in ("operation_outputs", "workflow_status"):
                connection.execute(sa.delete(self._table(table)))
        self.set_versions([self.version])

    def raw(self) -> Rows:
        """Return every row as it is, all of one moment."""
        with self.engine.connect().execution_options(isolation_level=self._snapshot) as connection:
            names = (*self.tables, "queues")
            rows = {name: connection.execute(sa.select(self._table(name))).mappings() for name in names}
            return {name: [dict(row) for row in found] for name, found in rows.items()}

    def rows_in(self, connection: sa.Connection) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return every task and every operation as *connection* sees them."""
        tasks, operations = (
            [dict(row) for row in connection.execute(sa.select(self._table(name))).mappings()]
            for name in ("workflow_status", "operation_outputs")
        )
        return tasks, operations

    def set_versions(self, versions: Iterable[int]) -> None:
        """Let the tables say that they are of *versions*."""
        table = self._table("dbos_migrations")
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table))
            for version in versions:
                connection.execute(sa.insert(table), {"version": version})

    @contextlib.contextmanager
    def hidden(self, table: str) -> Iterator[None]:
        """Let *table* be missing for a while."""
        above = f"{self.schema}." if self.schema else ""
        self.execute(f"ALTER TABLE {above}{table} RENAME TO hidden")
        yield
        self.execute(f"ALTER TABLE {above}hidden RENAME TO {table}")

    def a_write(self) -> str:
        """Return a statement that would change a table."""
        return f"UPDATE {self._table('workflow_status')} SET status = 'SUCCESS'"

    def execute(self, *statements: str) -> None:
        """Run *statements*, each in a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    _snapshot: str

    def _migrate(self) -> None:
        raise NotImplementedError

    def _source(self, url: str, **options: Any) -> DbosSource:
        windows = {"window_seconds": WINDOW_SECONDS, "stuck_after_seconds": STUCK_AFTER_SECONDS}
        source = DbosSource("dbos", Database(url), **{**windows, **options})
        source.roster = self
        return source

    def _table(self, name: str) -> sa.Table:
        return self._metadata.tables[f"{self.schema}.{name}" if self.schema else name]


class DbosOnSqlite(DbosBackend):
    """In a file in WAL mode, as our demo has it."""

    schema = None
    _snapshot = "SERIALIZABLE"

    def __init__(self, folder: Path, version: int = 125, journal_mode: str = "wal") -> None:
        self.journal_mode = journal_mode
        self.file = folder / "dbos.db"
        bare = folder / "bare.db"
        bare.touch()
        super().__init__(f"sqlite:///{self.file}", f"sqlite:///{bare}", version)

    def now_ms(self) -> int:
        """Return the time: an embedded database has no clock but this machine's."""
        return round(time.time() * 1000)

    @contextlib.contextmanager
    def restricted_source(self, time_zone: str) -> Iterator[DbosSource]:
        """Give a source that may do what any may, for there are no roles, in a process of *time_zone*."""
        with mock.patch.dict("os.environ", TZ=time_zone):
            time.tzset()
            yield self.source()
        time.tzset()

    def lockable(self) -> DbosOnSqlite:
        """Return tables in the journal mode in which DBOS leaves them, where a writer can keep readers out."""
        folder = self.file.parent / "delete"
        folder.mkdir(exist_ok=True)
        return DbosOnSqlite(folder, self.version, journal_mode="delete")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every reader out, as a writer does while it commits."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield
            connection.exec_driver_sql("ROLLBACK")

    def _migrate(self) -> None:
        """Do as DBOS' SqliteSystemDatabase does, up to the version."""
        texts = migrations.sqlite_migrations[: self.version]
        statements = [statement for text in texts for statement in text.split(";") if statement.strip()]
        self.execute(
            f"PRAGMA journal_mode = {self.journal_mode}",
            "CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY)",
            *statements,
            f"INSERT INTO dbos_migrations VALUES ({self.version})",
        )


class DbosOnPostgres(DbosBackend):
    """In the schema `dbos` of a database of its own."""

    schema = SCHEMA
    _snapshot = "REPEATABLE READ"

    def __init__(self, server: PostgresServer, version: int = 125) -> None:
        self.server = server
        super().__init__(server.new_database(), server.new_database(), version)

    def now_ms(self) -> int:
        """Return the time by the server's clock."""
        with self.engine.connect() as connection:
            return round(connection.execute(sa.text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())

    @contextlib.contextmanager
    def restricted_source(self, time_zone: str) -> Iterator[DbosSource]:
        """Give a source whose role may only read DBOS' schema and whose sessions are in *time_zone*."""
        self.execute(
            f"CREATE ROLE health_reader LOGIN PASSWORD '{READER_PASSWORD}'",
            f"ALTER ROLE health_reader SET timezone = '{time_zone}'",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO health_reader",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO health_reader",
        )
        url = sa.make_url(self.url).set(username="health_reader", password=READER_PASSWORD)
        yield self._source(url.render_as_string(hide_password=False))
        self.execute("DROP OWNED BY health_reader", "DROP ROLE health_reader")

    def lockable(self) -> DbosOnPostgres:
        """Return itself."""
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every reader out of the tasks, as a migration does."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"LOCK TABLE {SCHEMA}.workflow_status IN ACCESS EXCLUSIVE MODE")
            yield

    def _migrate(self) -> None:
        first: Callable[..., list[str]] = migrations.get_dbos_migrations

        def up_to_version(*arguments: Any) -> list[str]:
            return first(*arguments)[: self.version]

        migrations.ensure_dbos_schema(self.engine, SCHEMA)
        with mock.patch.object(migrations, "get_dbos_migrations", up_to_version):
            migrations.run_dbos_migrations(self.engine, SCHEMA, use_listen_notify=True)


def _at(row: dict[str, Any], now_ms: float) -> dict[str, Any]:
    """Return *row* with its times as they are when it is *now_ms*."""
    times = {
        column: row[column] + now_ms
        for column in row.keys() & set(dbos_history.TIME_COLUMNS)
        if row[column] is not None
    }
    return {**row, **times}
