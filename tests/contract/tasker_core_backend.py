"""tasker-core's tables in PostgreSQL, written to as it writes."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

import canary
from contract import tasker_core_history, tasker_core_schema
from contract.ages import grown, without_ages
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Backend, Rows
from contract.tasker_core_recount import Recount
from contract.tasker_core_schema import SCHEMA
from servers import PostgresServer, sync_url
from tasker_health.database import Database
from tasker_health.model import CountingMethod, Durations, Facts
from tasker_health.sources.tasker_core import TaskerCoreSource, Wanted
from tasker_health.sources.tasker_core.queries import TABLES
from tasker_health.sources.tasker_core.reader import CAUSES
from tasker_health.work import QueueFlow

READER_PASSWORD = canary.secret("tasker_core_reader")
_WORK = (
    *("tasks", "workflow_steps", "task_transitions", "workflow_step_transitions", "tasks_dlq"),
    "workflow_step_result_audit",
)
_FUNCTION = f"{SCHEMA}.get_system_health_counts"


class TaskerCoreOnPostgres(Backend):
    """In the schema `tasker` of a database of its own."""

    histories = tasker_core_history.histories()
    situations = tasker_core_history.SITUATIONS
    lively = tasker_core_history.lively()
    known_versions = (2,)
    tables = TABLES
    task_table = "tasks"
    least_statements = 6
    unknown = ({}, ("groups", "retries_settled", "retries_succeeded"))
    known_nowhere = (
        *("other", "connections", "groups", "drift", "age_seconds", "retries_settled", "retries_succeeded"),
    )
    nothing = Facts(
        **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other", "stuck", "blocked"), 0),
        **dict.fromkeys(("retry_queue", "in_backoff", "window_completed", "window_failed"), 0),
        **dict.fromkeys(("retries_settled", "retries_succeeded")),
        tasks_by_state={},
        steps_by_state={},
        task_time=Durations(0, 0),
        step_time=Durations(0, 0),
        causes=dict.fromkeys(CAUSES, 0),
        flow=QueueFlow(arrived=0, ended=0, ready=0),
        queues={},
        outcomes=(),
    )

    def __init__(self, server: PostgresServer, version: int = 2) -> None:
        self.server, self.version = server, version
        self.url, self.bare_url = server.new_database(), server.new_database()
        self.engine = sa.create_engine(sync_url(self.url), poolclass=sa.NullPool)
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path TO {SCHEMA}")
            connection.exec_driver_sql(tasker_core_schema.ddl())
        self.set_versions([version])
        self._metadata = sa.MetaData(schema=SCHEMA)
        self._metadata.reflect(self.engine, only=TABLES)
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(self._table("named_tasks"))).mappings()
            self._named = {row["name"]: row["named_task_uuid"] for row in found}

    def source(self, *, schema_missing: bool = False, **options: Any) -> TaskerCoreSource:
        """Return a new source over these tables, or over a database that has none."""
        return self._source(self.bare_url if schema_missing else self.url, **options)

    @contextlib.contextmanager
    def restricted_source(self, time_zone: str) -> Iterator[TaskerCoreSource]:
        """Give a source whose role may only read the schema's tables, and whose sessions are in *time_zone*."""
        self.execute(
            f"CREATE ROLE core_reader LOGIN PASSWORD '{READER_PASSWORD}'",
            f"ALTER ROLE core_reader SET timezone = '{time_zone}'",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO core_reader",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO core_reader",
        )
        url = sa.make_url(self.url).set(username="core_reader", password=READER_PASSWORD)
        yield self._source(url.render_as_string(hide_password=False))
        self.execute("DROP OWNED BY core_reader", "DROP ROLE core_reader")

    def recount(self, raw: Rows, now_ms: float) -> Facts:
        """Return what the definitions say of *raw*."""
        return Recount(raw, now_ms / 1000, WINDOW_SECONDS, STUCK_AFTER_SECONDS).facts()

    def differences(self, facts: Facts, raw: Rows, now_ms: float) -> dict[str, Any]:
        """Return what *facts* and a recount do not agree on; ages may have grown by some seconds meanwhile."""
        assert facts.method is CountingMethod.FULL_COUNT
        first, last = self.recount(raw, now_ms), self.recount(raw, self.now_ms())
        found = super().differences(msgspec.structs.replace(facts, method=None), raw, now_ms)
        if found.keys() & {"flow", "queues"} and grown(facts, first, last):
            plain, counted = without_ages(facts), without_ages(first)
            for name in ("flow", "queues"):
                if getattr(plain, name) == getattr(counted, name):
                    found.pop(name, None)
        ages = facts.oldest_pending_seconds, first.oldest_pending_seconds, last.oldest_pending_seconds
        if None not in ages and (ages[1] or 0) <= (ages[0] or 0) <= (ages[2] or 0):
            found.pop("oldest_pending_seconds", None)
        return found

    def now_ms(self) -> float:
        """Return the time by the server's clock."""
        with self.engine.connect() as connection:
            return float(connection.execute(sa.text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())

    def write(self, history: Rows, now_ms: float) -> None:
        """Add *history* as it would be at *now_ms*, and commit; each task and step has an id of its own."""
        ids: dict[str, uuid.UUID] = {}
        now = datetime.fromtimestamp(now_ms / 1000, UTC).replace(tzinfo=None)
        with self.engine.begin() as connection:
            for table in _WORK:
                rows = [dict(row) for row in history[table]]
                for row in rows:
                    for name in row.keys() & {"task_uuid", "workflow_step_uuid"}:
                        row[name] = ids.setdefault(f"{name}-{row[name]}", uuid.uuid4())
                    for name in row.keys() & set(tasker_core_history.TIMES):
                        row[name] = None if row[name] is None else now + timedelta(seconds=row[name])
                    if table == "tasks":
                        row["named_task_uuid"] = self._named[row.pop("name")]
                if rows:
                    connection.execute(sa.insert(self._table(table)), rows)

    def clear(self) -> None:
        """Remove everything, and let the function be what it is."""
        with self.engine.begin() as connection:  # of few rows, quicker than TRUNCATE
            connection.exec_driver_sql("; ".join(f"DELETE FROM {SCHEMA}.{name}" for name in _WORK))
        if self._versions != [self.version]:
            self.set_versions([self.version])

    def raw(self) -> Rows:
        """Return every row as it is, all of one moment."""
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            rows = {name: connection.execute(sa.select(self._table(name))).mappings() for name in TABLES}
            return {name: [dict(row) for row in found] for name, found in rows.items()}

    def set_versions(self, versions: Iterable[int]) -> None:
        """Let the function be of the newest of *versions*: 1 lacks a column, 3 has another one; none: there is none."""
        made = {1: {"fewer": 1}, 2: {}, 3: {"more": ("paused_tasks",)}}
        self.execute(f"DROP FUNCTION IF EXISTS {_FUNCTION}()")
        self._versions = list(versions)
        for version in self._versions[-1:]:
            self.execute(tasker_core_schema.function(**made[version]))

    @contextlib.contextmanager
    def hidden(self, table: str) -> Iterator[None]:
        """Let *table* be missing for a while."""
        self.execute(f"ALTER TABLE {SCHEMA}.{table} RENAME TO hidden")
        yield
        self.execute(f"ALTER TABLE {SCHEMA}.hidden RENAME TO {table}")

    def lockable(self) -> TaskerCoreOnPostgres:
        """Return itself."""
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every reader out of the tasks, as a migration does."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"LOCK TABLE {SCHEMA}.tasks IN ACCESS EXCLUSIVE MODE")
            yield

    def a_write(self) -> str:
        """Return a statement that would change a table."""
        return f"UPDATE {SCHEMA}.tasks SET complete = true"

    def execute(self, *statements: str) -> None:
        """Run *statements*, each in a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _source(self, url: str) -> TaskerCoreSource:
        wanted = Wanted(window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS)
        return TaskerCoreSource("core", Database(url), Database(url), wanted)

    def _table(self, name: str) -> sa.Table:
        return self._metadata.tables[f"{SCHEMA}.{name}"]
