"""DBOS' tables as they are found: how they are written in SQL, and what they are asked in one moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.errors import SourceFault
from tasker_health.model import Connections, Reason

KNOWN_VERSIONS = (123, 124, 125)
"""Values of `dbos_migrations.version` whose tables are known here: DBOS 3.3 (123) and 3.4 (125)."""

TABLES = ("workflow_status", "operation_outputs", "dbos_migrations", "queues")

_WORDS = {
    "sqlite": {
        "task_key": "rowid",
        "op_key": "rowid",
        "greatest": "max",
        "no": "0",
        "ids": "(SELECT value AS workflow_uuid FROM json_each(:ids))",
    },
    "postgresql": {
        "task_key": "created_at",
        "op_key": "retention_timestamp",
        "greatest": "greatest",
        "no": "false",
        "ids": "(SELECT unnest(CAST(:ids AS text[])) AS workflow_uuid)",
    },
}
DIALECTS = tuple(_WORDS)
"""What DBOS runs on."""


class Keys(NamedTuple):
    """Where in the tables something lies.

    Attributes:
        ended: A time of completion of a task.
        tasks: A key of a new task: on PostgreSQL the time of its creation, on SQLite its row's number.
        ops: A key of a new row of `operation_outputs`: the time at which it was written, or its number.
    """

    ended: int
    tasks: int
    ops: int


class Look(NamedTuple):
    """What is known of the moment that a connection's snapshot shows.

    Attributes:
        now: The database's clock, in milliseconds since the epoch.
        moment: Equal to that of another look when nothing can have been written in between.
        seen: Another one when rows were deleted or tables replaced.
        settled: Below these keys no row can appear any more; `None` where that cannot be known.
        is_standby: Whether that can never be known here.
        inserted: How many tasks were ever inserted, as the server has counted them so far; `None`: nobody counts.
        connections: Of the whole server.
    """

    now: int
    moment: object
    seen: object
    settled: Keys | None
    is_standby: bool
    inserted: int | None
    connections: Connections


class Tables:
    """The tables of one schema.

    Args:
        dialect: `sqlite` or `postgresql`.
        schema: Of the tables, on PostgreSQL.
    """

    def __init__(self, dialect: str, schema: str) -> None:
        self.dialect = dialect
        self.names: dict[str, str] = table_names(dialect, schema)
        # A colon in a schema's name is not a parameter.
        self._words = {name: table.replace(":", "\\:") for name, table in self.names.items()} | _WORDS[dialect]
        self._made: dict[str, tuple[sa.TextClause, tuple[str, ...]]] = {}

    def rows(self, connection: sa.Connection, query: str, **values: Any) -> list[Any]:
        """Return the rows that *query* answers; of *values* it takes what it names."""
        if query not in self._made:
            statement = sa.text(query.format(**self._words))
            self._made[query] = statement, tuple(statement.compile().params)
        statement, wanted = self._made[query]
        return list(connection.execute(statement, {name: values[name] for name in wanted}))

    def ids(self, ids: Sequence[str]) -> Any:
        """Return *ids* as a query takes them."""
        return list(ids) if self.dialect == "postgresql" else json.dumps(list(ids))


def guard_version(found: object) -> None:
    """Go on only if *found* is a version whose tables are known.

    Raises:
        SourceFault: It is not.
    """
    if found not in KNOWN_VERSIONS:
        raise SourceFault(
            Reason.UNKNOWN_VERSION,
            f"dbos_migrations says {found}, known are {', '.join(map(str, KNOWN_VERSIONS))}",
        )


def table_names(dialect: str, schema: str) -> dict[str, str]:
    """Return how the tables of DBOS are written in SQL; they stand in *schema* on PostgreSQL only."""
    quoted = schema.replace('"', '""')
    above = f'"{quoted}".' if dialect == "postgresql" else ""
    return {name: f"{above}{name}" for name in TABLES}
