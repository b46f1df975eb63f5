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
from tasker_health.sources import State, States, no_tasks
from tasker_health.sources import dbos_queries as queries

KNOWN_VERSIONS = (123, 124, 125)
"""Values of `dbos_migrations.version` whose tables are known here: DBOS 3.3 (123) and 3.4 (125)."""

_STATES: dict[str | None, State] = {
    "ENQUEUED": "pending",
    "DELAYED": "pending",
    None: "pending",
    "PENDING": "running",
    "SUCCESS": "completed",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}


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
        if database.dialect not in queries.NOW:
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
        now = connection.exec_driver_sql(queries.NOW[self._database.dialect]).scalar_one()
        times = {"now": now, "since": now - self._window_ms, "cutoff": now - self._stuck_ms}

        counts = {row.status: row.tasks for row in self._rows(connection, queries.COUNTS[self._database.dialect], {})}
        ended = {row.status: row for row in self._rows(connection, queries.WINDOW_TASKS, times)}
        completed = ended.pop("SUCCESS", None)
        steps = self._rows(connection, queries.WINDOW_STEPS, times)[0]
        retries: dict[str, Any] = self._retries(connection, times, counts.get(None, 0))
        return Facts(
            **_states(counts),
            blocked=None,
            stuck=self._rows(connection, queries.STUCK, times)[0][0],
            task_time=Durations(completed.timed, int(completed.total_ms)) if completed else Durations(0, 0),
            step_time=Durations(steps.steps, int(steps.total_ms)),
            window_completed=completed.tasks if completed else 0,
            window_failed=sum(row.tasks for row in ended.values()),
            connections=self._connections(connection),
            **retries,
        )

    def _begin_snapshot(self, connection: sa.Connection) -> None:
        """Make every statement that follows see one moment; a SQLite read transaction does so from its first read."""
        if self._database.dialect == "postgresql":
            connection.exec_driver_sql(queries.POSTGRESQL_SNAPSHOT)
        else:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("BEGIN")

    def _guard_version(self, connection: sa.Connection) -> None:
        rows = self._rows(connection, "SELECT version FROM {dbos_migrations}", {})
        found = max((row[0] for row in rows if isinstance(row[0], int)), default=None)
        if found not in KNOWN_VERSIONS:
            raise SourceFault(
                Reason.UNKNOWN_VERSION,
                f"dbos_migrations says {found}, known are {', '.join(map(str, KNOWN_VERSIONS))}",
            )

    def _retries(self, connection: sa.Connection, times: dict[str, int], stateless: int) -> dict[str, int | None]:
        if not self._attempts_recorded:
            return dict.fromkeys(("retry_queue", "in_backoff", "retries_settled", "retries_succeeded"))
        queue = self._rows(connection, queries.RETRY_QUEUE, {**times, "stateless": stateless})[0]
        settled = self._rows(connection, queries.WINDOW_RETRIES, times)[0]
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
        active, maximum = connection.exec_driver_sql(queries.CONNECTIONS).one()
        return Connections(
            active_connections=int(active),
            maximum_connections=maximum,
            connection_ratio=round(int(active) / maximum, 4),
        )

    def _rows(self, connection: sa.Connection, query: str, times: dict[str, int]) -> list[Any]:
        # A colon in a schema's name is not a parameter.
        statement = query.format(**{name: table.replace(":", "\\:") for name, table in self._tables.items()})
        wanted = {name: value for name, value in times.items() if f":{name}" in statement}
        return list(connection.execute(sa.text(statement), wanted))


def _states(counts: dict[str | None, int]) -> States:
    """Return how many tasks are in each state of the contract, from *counts* of DBOS' own."""
    states = no_tasks()
    for status, tasks in counts.items():
        states[_STATES.get(status, "other")] += tasks
    return states


def table_names(dialect: str, schema: str) -> dict[str, str]:
    """Return how the tables of DBOS are written in SQL; they stand in *schema* on PostgreSQL only."""
    quoted = schema.replace('"', '""')
    above = f'"{quoted}".' if dialect == "postgresql" else ""
    return {name: f"{above}{name}" for name in ("workflow_status", "operation_outputs", "dbos_migrations")}
