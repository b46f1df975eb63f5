"""Procrastinate's own schema in PostgreSQL, with histories written as its triggers would have written them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from procrastinate.schema import SchemaManager

import canary
from contract import procrastinate_history
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Backend, Rows
from contract.procrastinate_recount import Recount
from servers import PostgresServer, sync_url
from tasker_health.database import Database
from tasker_health.model import CountingMethod, Durations, Facts
from tasker_health.sources.procrastinate import ProcrastinateSource, Wanted
from tasker_health.work import Cause, QueueFlow

READER_PASSWORD = canary.secret("procrastinate_reader")
_TIMES = ("scheduled_at", "at", "last_heartbeat")
_AGES = ("oldest_pending_seconds", "flow", "queues")


class ProcrastinateOnPostgres(Backend):
    """In the schema `public` of a database of its own."""

    histories = procrastinate_history.histories()
    situations = procrastinate_history.SITUATIONS
    lively = procrastinate_history.lively()
    known_versions = (2,)
    tables = ("procrastinate_jobs", "procrastinate_events", "procrastinate_workers")
    task_table = "procrastinate_jobs"
    least_statements = 6
    unknown = ({}, ("steps_by_state", "groups"))
    known_nowhere = ("other", "connections", "steps_by_state", "groups", "method", "drift", "age_seconds")
    nothing = Facts(
        **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other", "stuck", "blocked"), 0),
        **dict.fromkeys(("retry_queue", "in_backoff", "window_completed", "window_failed"), 0),
        **dict.fromkeys(("retries_settled", "retries_succeeded"), 0),
        tasks_by_state={},
        task_time=Durations(0, 0),
        step_time=Durations(0, 0),
        causes=dict.fromkeys(
            (
                *(Cause.WORKER_DEAD, Cause.NO_WORKER, Cause.LOCKED, Cause.NOT_TAKEN),
                *(Cause.RUNNING_LONG, Cause.NO_PROGRESS),
            ),
            0,
        ),
        flow=QueueFlow(arrived=0, ended=0, ready=0),
        queues={},
        outcomes=(),
    )

    def __init__(self, server: PostgresServer, version: int = 2) -> None:
        self.server, self.version = server, version
        self.url, self.bare_url = server.new_database(), server.new_database()
        self.engine = sa.create_engine(sync_url(self.url), poolclass=sa.NullPool)
        self.execute(SchemaManager.get_schema().replace("%", "%%"))
        self._metadata = sa.MetaData()
        self._metadata.reflect(self.engine, only=self.tables)

    def source(self, *, schema_missing: bool = False, **options: Any) -> ProcrastinateSource:
        """Return a new source over these tables, or over a database that has none."""
        return self._source(self.bare_url if schema_missing else self.url, **options)

    @contextlib.contextmanager
    def restricted_source(self, time_zone: str) -> Iterator[ProcrastinateSource]:
        """Give a source whose role may only read the three tables, and whose sessions are in *time_zone*."""
        self.execute(
            f"CREATE ROLE procrastinate_reader LOGIN PASSWORD '{READER_PASSWORD}'",
            f"ALTER ROLE procrastinate_reader SET timezone = '{time_zone}'",
            f"GRANT SELECT ON {', '.join(self.tables)} TO procrastinate_reader",
        )
        url = sa.make_url(self.url).set(username="procrastinate_reader", password=READER_PASSWORD)
        yield self._source(url.render_as_string(hide_password=False))
        self.execute("DROP OWNED BY procrastinate_reader", "DROP ROLE procrastinate_reader")

    def recount(self, raw: Rows, now_ms: float) -> Facts:
        """Return what the definitions say of *raw*."""
        seconds = {
            table: [
                {name: value.timestamp() if isinstance(value, datetime) else value for name, value in row.items()}
                for row in rows
            ]
            for table, rows in raw.items()
        }
        return Recount(seconds, now_ms / 1000, WINDOW_SECONDS, STUCK_AFTER_SECONDS).facts()

    def differences(self, facts: Facts, raw: Rows, now_ms: float) -> dict[str, Any]:
        """Return what *facts* and a recount do not agree on; ages may have grown by some seconds meanwhile."""
        assert facts.method is CountingMethod.TALLY
        found = super().differences(msgspec.structs.replace(facts, method=None, drift=None), raw, now_ms)
        for name in {*_AGES, "outcomes"} & found.keys():
            seconds = round((self.now_ms() - now_ms) / 1000) + 2
            for later in range(seconds):
                if getattr(self.recount(raw, now_ms + later * 1000), name) == getattr(facts, name):
                    del found[name]
                    break
        return found

    def now_ms(self) -> float:
        """Return the time by the server's clock."""
        with self.engine.connect() as connection:
            return float(connection.execute(sa.text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())

    def write(self, history: Rows, now_ms: float) -> None:
        """Add *history* as it would be at *now_ms*, and commit; ids are the database's own."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            workers = self._add(connection, "procrastinate_workers", history, now_ms, {})
            jobs = self._add(connection, "procrastinate_jobs", history, now_ms, {"worker_id": workers})
            self._add(connection, "procrastinate_events", history, now_ms, {"job_id": jobs})

    def renamed(self, history: Rows, prefix: str) -> Rows:
        """Return *history* with other locks."""
        jobs = [{**row, "lock": row["lock"] and prefix + row["lock"]} for row in history["procrastinate_jobs"]]
        return {**history, "procrastinate_jobs": jobs}

    def clear(self) -> None:
        """Remove everything, and let the schema be what it is."""
        self.execute(f"TRUNCATE {', '.join(self.tables)} CASCADE")
        self.set_versions([self.version])

    def raw(self) -> Rows:
        """Return every row as it is, all of one moment."""
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            rows = {name: connection.execute(sa.select(self._metadata.tables[name])).mappings() for name in self.tables}
            return {name: [dict(row) for row in found] for name, found in rows.items()}

    def set_versions(self, versions: Iterable[int]) -> None:
        """Let the functions that fetch jobs be of *versions*."""
        for version in (1, 2, 3):
            self.execute(f"DROP FUNCTION IF EXISTS procrastinate_fetch_job_v{version}(character varying[], bigint)")
        for version in versions:
            self.execute(
                f"CREATE FUNCTION procrastinate_fetch_job_v{version}(character varying[], bigint)"
                " RETURNS integer LANGUAGE sql AS 'SELECT 1'"
            )

    @contextlib.contextmanager
    def hidden(self, table: str) -> Iterator[None]:
        """Let *table* be missing for a while."""
        self.execute(f"ALTER TABLE {table} RENAME TO hidden")
        yield
        self.execute(f"ALTER TABLE hidden RENAME TO {table}")

    def lockable(self) -> ProcrastinateOnPostgres:
        """Return itself."""
        return self

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every reader out of the jobs, as a migration does."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
            yield

    def a_write(self) -> str:
        """Return a statement that would change a table."""
        return "UPDATE procrastinate_jobs SET priority = 1"

    def execute(self, *statements: str) -> None:
        """Run *statements*, each in a transaction of its own."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _source(self, url: str, **options: Any) -> ProcrastinateSource:
        wanted = Wanted(window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS, **options)
        return ProcrastinateSource("procrastinate", Database(url), Database(url), wanted)

    def _add(
        self, connection: sa.Connection, table: str, history: Rows, now_ms: float, keys: dict[str, dict[int, int]]
    ) -> dict[int, int]:
        """Add the rows of *table*; return the ids they have been given, by those in the history."""
        given: dict[int, int] = {}
        for row in history.get(table, []):
            values = {name: value for name, value in row.items() if name != "id"}
            for name in values.keys() & set(_TIMES):
                if values[name] is not None:
                    values[name] = datetime.fromtimestamp(now_ms / 1000 + values[name], UTC)
            for name, ids in keys.items():
                values[name] = ids.get(values[name])
            made = sa.insert(self._metadata.tables[table]).values(**values).returning(sa.literal_column("id"))
            given[row["id"]] = connection.execute(made).scalar_one()
        return given
