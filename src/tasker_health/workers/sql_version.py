"""Which version the table of heartbeats has, and how it is made."""

from __future__ import annotations

import sqlalchemy as sa

from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.workers.migrations import HEAD, KNOWN, VERSION_TABLE, locked, upgrade
from tasker_health.workers.sql_table import TABLE, columns_statement


def read_version(connection: sa.Connection) -> str | None:
    """Return the version that is written down; `None`: there is none.

    Raises:
        DBAPIError: There is no table of versions.
    """
    version = connection.exec_driver_sql(f"SELECT max(version_num) FROM {VERSION_TABLE}").scalar()  # noqa: S608 -- ours
    return None if version is None else str(version)


def look_at_columns(connection: sa.Connection) -> None:
    """Pass where the table has our columns.

    Raises:
        DBAPIError: It has not, or is not there.
    """
    connection.exec_driver_sql(columns_statement())


def judge(version: str) -> None:
    """Pass where the table is of the newest version that is known.

    Raises:
        LedgerFault: `pending`: it is older; `unknown_version`: it is of a version to come.
    """
    if version not in KNOWN:
        words = f"the table {TABLE} is of version {version}, and {HEAD} is the newest that is known"
        raise LedgerFault(Reason.UNKNOWN_VERSION, f"{words}; use the version of Tasker Health that made it, or a newer")
    if version != HEAD:
        raise LedgerFault(Reason.PENDING, f"the table {TABLE} is of version {version}, and {HEAD} is needed")


def make(connection: sa.Connection) -> None:
    """Make the table, whatever is left of an earlier one; of those who do it at the same moment one does.

    Raises:
        LedgerFault: It is of a version to come, or there is no Alembic.
        DBAPIError: It is another program's, or the database refuses.
    """
    with locked(connection):
        tables = sa.inspect(connection)
        version = read_version(connection) if tables.has_table(VERSION_TABLE) else None
        if version is not None and version not in KNOWN:
            judge(version)
        if tables.has_table(TABLE):
            look_at_columns(connection)
        elif version is not None:
            connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")  # noqa: S608 -- ours
            version = None
        if version != HEAD:
            upgrade(connection, version)
    connection.commit()
