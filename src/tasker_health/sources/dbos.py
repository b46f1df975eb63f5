"""The source `dbos`: DBOS 3.x on SQLite and PostgreSQL.

What its tables tell (DBOS documentation, "System tables", and its schema as of migration 125):

* `workflow_status` is a task: ENQUEUED and DELAYED are pending, PENDING is running, SUCCESS completed, ERROR and
  MAX_RECOVERY_ATTEMPTS_EXCEEDED failed, CANCELLED cancelled.
* `operation_outputs` is a step; DBOS' own operations (`DBOS.sleep`, ...) and the starts of child workflows are not.
  The attempts of one step are the rows of one function name in one workflow, in the order of `function_id`.
* A failed attempt will be tried again when its workflow is alive and has recorded no later step. It is in backoff
  while a durable sleep recorded after it has not ended: such a row holds its wake time from its beginning.
* Retention may delete a task before its steps: those count in the average of steps, and in nothing else.
* A completion that lies ahead of the database's clock, because a worker's is ahead, is within the window.
* DBOS keeps no heartbeat, so whether a worker is dead cannot be known: `blocked` is `None`. Work that a dead worker
  left behind shows as `stuck`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError, SourceFault
from tasker_health.model import Connections, Durations, Facts, Reason

KNOWN_VERSIONS = (123, 124, 125)
"""Values of `dbos_migrations.version` whose tables are known here: DBOS 3.3 (123) and 3.4 (125)."""

_STATES = {
    "ENQUEUED": "pending",
    "DELAYED": "pending",
    None: "pending",
    "PENDING": "running",
    "SUCCESS": "completed",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}

# Every join below goes from few rows to their index. CROSS JOIN keeps SQLite from turning it round; `|| ''` keeps it
# from reading a whole primary key to have a few names in order.

_TOTAL = "SELECT count(*) FROM {workflow_status}"

# Most of a history has succeeded: grouping only the rest spares SQLite a sort of everything.
_COUNTS = """
SELECT status, count(*) AS tasks FROM {workflow_status}
WHERE status <> 'SUCCESS' OR status IS NULL GROUP BY status
"""

_WINDOW_TASKS = """
SELECT status, count(*) AS tasks, coalesce(sum(completed_at - created_at), 0) AS total_ms
FROM {workflow_status}
WHERE completed_at >= :since AND status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
GROUP BY status
"""


def _user_step(row: str) -> str:
    """Return the condition that *row* is a step of the application's."""
    return f"{row}.child_workflow_id IS NULL AND substr({row}.function_name, 1, 5) <> 'DBOS.'"


_WINDOW_STEPS = f"""
SELECT count(*) AS steps, coalesce(sum(o.completed_at_epoch_ms - o.started_at_epoch_ms), 0) AS total_ms
FROM {{operation_outputs}} o
WHERE o.completed_at_epoch_ms >= :since AND o.started_at_epoch_ms IS NOT NULL AND o.error IS NULL AND {_user_step("o")}
"""

# A step has settled when its last attempt succeeded, or failed and is not repeated: its workflow has ended (not by
# a cancellation, which settles nothing) or has gone on to another step. `last` is such an attempt.
_WINDOW_RETRIES = f"""
WITH recent AS MATERIALIZED (
    SELECT DISTINCT o.workflow_uuid || '' AS workflow_uuid FROM {{operation_outputs}} o
    WHERE o.completed_at_epoch_ms >= :since AND {_user_step("o")}
), failing AS MATERIALIZED (
    SELECT o.workflow_uuid, o.function_name, min(o.function_id) AS first_id
    FROM recent CROSS JOIN {{operation_outputs}} o
    WHERE o.workflow_uuid = recent.workflow_uuid AND o.error IS NOT NULL AND {_user_step("o")}
    GROUP BY o.workflow_uuid, o.function_name
)
SELECT count(*) AS settled, coalesce(sum(CASE WHEN last.error IS NULL THEN 1 ELSE 0 END), 0) AS succeeded
FROM failing CROSS JOIN {{operation_outputs}} last CROSS JOIN {{workflow_status}} w
WHERE last.workflow_uuid = failing.workflow_uuid AND last.function_name = failing.function_name
    AND last.function_id > failing.first_id AND last.completed_at_epoch_ms >= :since AND {_user_step("last")}
    AND NOT EXISTS (
        SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
            AND o.function_id > last.function_id AND o.function_name = last.function_name AND {_user_step("o")}
    )
    AND w.workflow_uuid = last.workflow_uuid AND (
        last.error IS NULL OR w.status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') OR EXISTS (
            SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
                AND o.function_id > last.function_id AND {_user_step("o")}
        )
    )
"""

# Alive tasks are found by the partial indexes of DBOS, whose conditions are repeated word for word. Those without a
# state have none, so they are looked for only when the counts, of the same snapshot, have found some.
_RETRY_QUEUE = f"""
WITH alive AS (
    SELECT workflow_uuid FROM {{workflow_status}} WHERE status IN ('ENQUEUED', 'PENDING')
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE status = 'DELAYED'
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE :stateless > 0 AND status IS NULL
)
SELECT count(*) AS waiting, coalesce(sum(CASE WHEN EXISTS (
        SELECT 1 FROM {{operation_outputs}} z
        WHERE z.workflow_uuid = last.workflow_uuid AND z.function_id > last.function_id
            AND z.function_name = 'DBOS.sleep' AND z.completed_at_epoch_ms > :now
    ) THEN 1 ELSE 0 END), 0) AS in_backoff
FROM alive CROSS JOIN {{operation_outputs}} last
WHERE last.workflow_uuid = alive.workflow_uuid AND last.error IS NOT NULL AND last.function_id = (
    SELECT max(o.function_id) FROM {{operation_outputs}} o
    WHERE o.workflow_uuid = alive.workflow_uuid AND {_user_step("o")}
)
"""

_STUCK = """
SELECT count(*) FROM {workflow_status} w
WHERE w.status = 'PENDING' AND w.updated_at < :cutoff AND w.created_at < :cutoff
    AND coalesce(w.started_at_epoch_ms, 0) < :cutoff
    AND NOT EXISTS (
        SELECT 1 FROM {operation_outputs} o
        WHERE o.workflow_uuid = w.workflow_uuid AND o.completed_at_epoch_ms >= :cutoff
    )
"""

_NOW = {
    "sqlite": "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
}

# The planner takes an index for as dear as a disk's seek and would read a whole history to spare a few thousand.
# A health reading takes no workers from the application, and is over before a compilation would pay.
_POSTGRESQL_SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL enable_hashjoin = off;"
    " SET LOCAL enable_mergejoin = off; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off"
)

_CONNECTIONS = """
SELECT (SELECT sum(numbackends) FROM pg_stat_database), current_setting('max_connections')::int
"""


class DbosSource:
    """Reads the tables of DBOS.

    Args:
        name: Its name in the answer.
        database: Where DBOS keeps its system tables, over a connection of this source's own.
        schema: PostgreSQL schema of the tables.
        window_seconds: Window of averages and ratios.
        stuck_after_seconds: A running task without a recorded change for so long is stuck.
        attempts_recorded: Whether every attempt is a step of its own; if not, the retry figures are `None`.

    Raises:
        ConfigurationError: DBOS does not run on this kind of database.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        *,
        schema: str = "dbos",
        window_seconds: float = 3600,
        stuck_after_seconds: float = 900,
        attempts_recorded: bool = True,
    ) -> None:
        if database.dialect not in _NOW:
            raise ConfigurationError(f"sources.{name}.url: DBOS runs on sqlite and postgresql, not {database.dialect}")
        self.name = name
        self._database = database
        self._window_ms = round(window_seconds * 1000)
        self._stuck_ms = round(stuck_after_seconds * 1000)
        self._attempts_recorded = attempts_recorded
        self._tables = table_names(database.dialect, schema)

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot. See `Source.read`."""
        return await self._database.run(self._read, deadline_seconds=deadline_seconds)

    async def close(self) -> None:
        """Give up the connection."""
        await self._database.close()

    def _read(self, connection: sa.Connection) -> Facts:
        self._begin_snapshot(connection)
        self._guard_version(connection)
        now = connection.exec_driver_sql(_NOW[self._database.dialect]).scalar_one()
        times = {"now": now, "since": now - self._window_ms, "cutoff": now - self._stuck_ms}

        counts = {row.status: row.tasks for row in self._rows(connection, _COUNTS, {})}
        ended = {row.status: row for row in self._rows(connection, _WINDOW_TASKS, times)}
        completed = ended.pop("SUCCESS", None)
        steps = self._rows(connection, _WINDOW_STEPS, times)[0]
        retries: dict[str, Any] = self._retries(connection, times, counts.get(None, 0))
        return Facts(
            **_states(counts, total=self._rows(connection, _TOTAL, {})[0][0]),
            blocked=None,
            stuck=self._rows(connection, _STUCK, times)[0][0],
            task_time=Durations(completed.tasks, int(completed.total_ms)) if completed else Durations(0, 0),
            step_time=Durations(steps.steps, int(steps.total_ms)),
            window_completed=completed.tasks if completed else 0,
            window_failed=sum(row.tasks for row in ended.values()),
            connections=self._connections(connection),
            **retries,
        )

    def _begin_snapshot(self, connection: sa.Connection) -> None:
        """Make every statement that follows see one moment; a SQLite read transaction does so from its first read."""
        if self._database.dialect == "postgresql":
            connection.exec_driver_sql(_POSTGRESQL_SNAPSHOT)
        else:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("BEGIN")

    def _guard_version(self, connection: sa.Connection) -> None:
        version = self._rows(connection, "SELECT version FROM {dbos_migrations}", {})
        found = version[0][0] if version else None
        if found not in KNOWN_VERSIONS:
            raise SourceFault(
                Reason.UNKNOWN_VERSION,
                f"dbos_migrations says {found}, known are {', '.join(map(str, KNOWN_VERSIONS))}",
            )

    def _retries(self, connection: sa.Connection, times: dict[str, int], stateless: int) -> dict[str, int | None]:
        if not self._attempts_recorded:
            return dict.fromkeys(("retry_queue", "in_backoff", "retries_settled", "retries_succeeded"))
        queue = self._rows(connection, _RETRY_QUEUE, {**times, "stateless": stateless})[0]
        settled = self._rows(connection, _WINDOW_RETRIES, times)[0]
        return {
            "retry_queue": queue.waiting,
            "in_backoff": int(queue.in_backoff),
            "retries_settled": settled.settled,
            "retries_succeeded": int(settled.succeeded),
        }

    def _connections(self, connection: sa.Connection) -> Connections:
        """Return the server's connections by the cluster's own counters, which every role may read."""
        if self._database.dialect != "postgresql":
            return Connections()
        active, maximum = connection.exec_driver_sql(_CONNECTIONS).one()
        return Connections(
            active_connections=int(active),
            maximum_connections=maximum,
            connection_ratio=round(int(active) / maximum, 4),
        )

    def _rows(self, connection: sa.Connection, query: str, times: dict[str, int]) -> list[Any]:
        statement = query.format(**self._tables)
        wanted = {name: value for name, value in times.items() if f":{name}" in statement}
        return list(connection.execute(sa.text(statement), wanted))


def _states(counts: dict[str | None, int], total: int) -> dict[str, int]:
    """Return how many of *total* tasks are in each state of the contract, from *counts* of those not succeeded."""
    states = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other"), 0)
    for status, tasks in counts.items():
        states[_STATES.get(status, "other")] += tasks
    return {**states, "completed": total - sum(counts.values())}


def table_names(dialect: str, schema: str) -> dict[str, str]:
    """Return how the tables of DBOS are written in SQL; they stand in *schema* on PostgreSQL only."""
    quoted = schema.replace('"', '""')
    above = f'"{quoted}".' if dialect == "postgresql" else ""
    return {name: f"{above}{name}" for name in ("workflow_status", "operation_outputs", "dbos_migrations")}
