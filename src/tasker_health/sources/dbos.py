"""The source `dbos`: DBOS 3.x on SQLite and PostgreSQL.

What its tables tell (DBOS documentation, "System tables", and its schema as of migration 125):

* `workflow_status` is a task: ENQUEUED and DELAYED are pending, PENDING is running, SUCCESS completed, ERROR and
  MAX_RECOVERY_ATTEMPTS_EXCEEDED failed, CANCELLED cancelled.
* `operation_outputs` is a step; DBOS' own operations (`DBOS.sleep`, ...) and the starts of child workflows are not.
  The attempts of one step are the rows of one function name in one workflow, in the order of `function_id`.
* A failed attempt will be tried again when its workflow is alive and has recorded no later step. It is in backoff
  while a durable sleep recorded after it has not ended: such a row holds its wake time from its beginning.
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

_USER_STEP = "o.child_workflow_id IS NULL AND substr(o.function_name, 1, 5) <> 'DBOS.'"

_COUNTS = "SELECT status, count(*) AS tasks FROM {workflow_status} GROUP BY status"

_WINDOW_TASKS = """
SELECT status, count(*) AS tasks, coalesce(sum(completed_at - created_at), 0) AS total_ms
FROM {workflow_status}
WHERE completed_at >= :since AND status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
GROUP BY status
"""

_WINDOW_STEPS = f"""
SELECT count(*) AS steps, coalesce(sum(o.completed_at_epoch_ms - o.started_at_epoch_ms), 0) AS total_ms
FROM {{operation_outputs}} o
WHERE o.completed_at_epoch_ms >= :since AND o.started_at_epoch_ms IS NOT NULL AND o.error IS NULL AND {_USER_STEP}
"""

# A step has settled when its last attempt succeeded, or failed and is not repeated: its workflow has ended (not by
# a cancellation, which settles nothing) or has gone on to another step.
_WINDOW_RETRIES = f"""
WITH attempts AS (
    SELECT o.workflow_uuid, o.function_name, o.function_id, o.completed_at_epoch_ms,
        CASE WHEN o.error IS NULL THEN 0 ELSE 1 END AS failed
    FROM {{operation_outputs}} o
    WHERE {_USER_STEP} AND o.workflow_uuid IN (
        SELECT o.workflow_uuid FROM {{operation_outputs}} o WHERE o.completed_at_epoch_ms >= :since AND {_USER_STEP}
    )
), steps AS (
    SELECT workflow_uuid, function_name, max(function_id) AS last_id, sum(failed) AS failures
    FROM attempts GROUP BY workflow_uuid, function_name
), latest AS (
    SELECT workflow_uuid, max(function_id) AS last_id FROM attempts GROUP BY workflow_uuid
)
SELECT count(*) AS settled, coalesce(sum(1 - a.failed), 0) AS succeeded
FROM steps s
JOIN attempts a ON a.workflow_uuid = s.workflow_uuid AND a.function_id = s.last_id
JOIN latest l ON l.workflow_uuid = s.workflow_uuid
JOIN {{workflow_status}} w ON w.workflow_uuid = s.workflow_uuid
WHERE s.failures > a.failed AND a.completed_at_epoch_ms >= :since AND (
    a.failed = 0 OR l.last_id > s.last_id OR w.status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
)
"""

_RETRY_QUEUE = f"""
WITH latest AS (
    SELECT o.workflow_uuid, max(o.function_id) AS last_id
    FROM {{workflow_status}} w JOIN {{operation_outputs}} o ON o.workflow_uuid = w.workflow_uuid
    WHERE w.status IN ('PENDING', 'ENQUEUED', 'DELAYED') AND {_USER_STEP}
    GROUP BY o.workflow_uuid
)
SELECT count(*) AS waiting, coalesce(sum(CASE WHEN EXISTS (
        SELECT 1 FROM {{operation_outputs}} z
        WHERE z.workflow_uuid = l.workflow_uuid AND z.function_id > l.last_id
            AND z.function_name = 'DBOS.sleep' AND z.completed_at_epoch_ms > :now
    ) THEN 1 ELSE 0 END), 0) AS in_backoff
FROM latest l
JOIN {{operation_outputs}} o ON o.workflow_uuid = l.workflow_uuid AND o.function_id = l.last_id
WHERE o.error IS NOT NULL
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

        states: dict[str, int] = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other"), 0)
        for row in self._rows(connection, _COUNTS, times):
            states[_STATES.get(row.status, "other")] += row.tasks
        ended = {row.status: row for row in self._rows(connection, _WINDOW_TASKS, times)}
        completed = ended.pop("SUCCESS", None)
        steps = self._rows(connection, _WINDOW_STEPS, times)[0]
        retries: dict[str, Any] = self._retries(connection, times)
        return Facts(
            **states,
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
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
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

    def _retries(self, connection: sa.Connection, times: dict[str, int]) -> dict[str, int | None]:
        if not self._attempts_recorded:
            return dict.fromkeys(("retry_queue", "in_backoff", "retries_settled", "retries_succeeded"))
        queue = self._rows(connection, _RETRY_QUEUE, times)[0]
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


def table_names(dialect: str, schema: str) -> dict[str, str]:
    """Return how the tables of DBOS are written in SQL; they stand in *schema* on PostgreSQL only."""
    quoted = schema.replace('"', '""')
    above = f'"{quoted}".' if dialect == "postgresql" else ""
    return {name: f"{above}{name}" for name in ("workflow_status", "operation_outputs", "dbos_migrations")}
