"""Reads tasker-core's tables in a snapshot; nothing is kept between two readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tasker_health.errors import SourceFault
from tasker_health.model import Connections, Reason
from tasker_health.sources.reader import Counted, Reading, Verified
from tasker_health.sources.tasker_core import queries
from tasker_health.sources.tasker_core.figures import Found, facts_of
from tasker_health.work import Cause, Findings, StuckTask

CAUSES = (
    *(Cause.NO_WORKER, Cause.RETRIES_EXHAUSTED, Cause.WAITING_FOR_PARENT, Cause.NOT_TAKEN),
    Cause.NO_PROGRESS,
)
"""Those that the tables tell."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        schema: Of the tables and the function.
        window_seconds: Of averages and ratios.
        stuck_after_seconds: A task without a change for so long is stuck.
    """

    schema: str = "tasker"
    window_seconds: float = 3600
    stuck_after_seconds: float = 900


class Reader:
    """Reads what is *wanted* over connections that are handed to it: there is never a state to go on from."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._schema = '"' + wanted.schema.replace('"', '""') + '"'
        self._regclass = {name: f"{self._schema}.{name}" for name in queries.TABLES}
        # A colon in a schema's name is not a parameter.
        names = {name: f"{self._schema}.{name}".replace(":", "\\:") for name in (*queries.TABLES, queries.FUNCTION)}
        self._names: dict[str, str] = names

    def count(self, connection: sa.Connection, seconds: float) -> Counted[None]:
        """Return the figures of one snapshot.

        Raises:
            SourceFault: Tasker's function answers other columns than those that are known, or is not there.
        """
        look = self._begin(connection, seconds)
        counts = self._rows(connection, queries.COUNTS)[0]._asdict()
        values = self._values(look.now, counts)
        found = Found(
            counts=counts,
            standing=self._rows(connection, queries.STANDING, **values),
            retries=self._rows(connection, queries.RETRIES, **values)[0],
            ended=self._rows(connection, queries.ENDED, **values),
            arrived=self._rows(connection, queries.ARRIVED, **values),
            steps=self._rows(connection, queries.STEPS, **values)[0],
        )
        return Counted(facts_of(found, look.now, CAUSES, _connections(look)), None)

    def explain(self, connection: sa.Connection, seconds: float, most: int) -> Findings:
        """Return what stands still in one snapshot, at most *most* tasks of each cause."""
        look = self._begin(connection, seconds)
        values = self._values(look.now, self._rows(connection, queries.COUNTS)[0]._asdict())
        counted = {row.cause: row.number for row in self._rows(connection, queries.CAUSES, **values)}
        rows = self._rows(connection, queries.NAMED, **values, most=most) if counted else []
        return Findings(
            tasks=tuple(
                StuckTask(
                    id=row.id,
                    cause=Cause(row.cause),
                    state="pending" if row.state == queries.PENDING else "running",
                    name=row.name,
                    queue=row.namespace,
                    version=row.version,
                    since=row.since,
                )
                for row in rows
            ),
            causes={cause: counted.get(cause.value, 0) for cause in CAUSES},
        )

    def poll(self, connection: sa.Connection, state: None, seconds: float) -> Reading:
        """Never asked: there is no state."""
        raise NotImplementedError

    def verify(self, connection: sa.Connection, state: None, seconds: float) -> Verified[None]:
        """Never asked: there is no state."""
        raise NotImplementedError

    def _begin(self, connection: sa.Connection, seconds: float) -> Any:
        """Make every statement that follows see one moment; return when that is, and who is connected."""
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        look = self._rows(
            connection, queries.LOOK, schema=self._wanted.schema, function=queries.FUNCTION, **self._regclass
        )[0]
        if look.columns is None or tuple(look.columns) != queries.COLUMNS:
            what = "is not there" if look.columns is None else "answers other columns"
            raise SourceFault(
                Reason.UNKNOWN_VERSION, f"the function {queries.FUNCTION} {what}: known is tasker-core of 2026"
            )
        ms = max(1, round(seconds * 1000))
        connection.exec_driver_sql(queries.SNAPSHOT.format(ms=ms, schema=self._schema.replace("%", "%%")))
        return look

    def _values(self, now: float, counts: Any) -> dict[str, Any]:
        told = sum(counts[f"{state}_tasks"] for state in queries.TASK_STATES)
        return {
            "now": now,
            "since": now - self._wanted.window_seconds,
            "old": now - self._wanted.stuck_after_seconds,
            "stateless": counts["total_tasks"] - told,
        }

    def _rows(self, connection: sa.Connection, query: str, **values: Any) -> list[Any]:
        """Return the rows that *query* answers; of *values* it takes what it names."""
        statement = sa.text(query.format(**self._names))
        wanted = statement.compile().params
        return list(connection.execute(statement, {name: values[name] for name in wanted}))


def _connections(look: Any) -> Connections:
    active = int(look.active)
    return Connections(
        active_connections=active,
        maximum_connections=look.maximum,
        connection_ratio=round(active / look.maximum, 4),
    )
