"""The moment that a reading sees on SQLite, where one writer follows the other.

A row's number is one more than the highest, so rows above the highest one seen are new, and nothing appears below it.
VACUUM gives other numbers, and changes the version of the schema. A time of completion is written a little before it
can be seen; a task whose completion is seen later than that leaves the counts unbalanced, which leads to a recount.
"""

from __future__ import annotations

import os

import sqlalchemy as sa

from tasker_health.model import Connections
from tasker_health.sources.dbos.tables import Keys, Look, Tables, guard_version

_LATE_MS = 15_000
"""A completion is visible so soon after its time; DBOS writes whole seconds with Python 3.11."""

_LOOK = """
SELECT (SELECT max(version) FROM {dbos_migrations}) AS version,
    CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS now,
    coalesce((SELECT max(rowid) FROM {workflow_status}), 0) AS last_task,
    coalesce((SELECT max(rowid) FROM {operation_outputs}), 0) AS last_op,
    (SELECT min(rowid) FROM {workflow_status}) AS first_task,
    (SELECT min(rowid) FROM {operation_outputs}) AS first_op
"""


class SqliteMoments:
    """Begins snapshots of a SQLite file."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def begin(self, connection: sa.Connection, _seconds: float) -> Look:
        """Make every statement that follows see one moment, and return what is known of it."""
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
        found = self._tables.rows(connection, _LOOK)[0]
        guard_version(found.version)
        # It is this very connection's: what another one calls so is another version.
        own = connection.info.setdefault("tasker_health", object())
        version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        schema = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
        settled = Keys(found.now - _LATE_MS, found.last_task + 1, found.last_op + 1)
        return Look(
            now=found.now,
            moment=(own, version),
            seen=(_file(connection), schema, found.first_task, found.first_op),
            settled=settled,
            is_standby=False,
            inserted=None,
            connections=Connections(),
        )


def _file(connection: sa.Connection) -> tuple[int, int] | None:
    """Return which file it is: a backup may have been put in its place."""
    name = connection.exec_driver_sql("PRAGMA database_list").first()
    try:
        found = os.stat(name[2] if name else "")  # noqa: PTH116 -- one call, no object, on each question
    except OSError:
        return None
    return found.st_dev, found.st_ino
