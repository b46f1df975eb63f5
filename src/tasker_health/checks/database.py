"""The check `database`: does the database answer a query on a connection of our own?"""

from __future__ import annotations

import sqlalchemy as sa

from tasker_health.database import Database
from tasker_health.errors import CheckFailed
from tasker_health.model import Reason

_READ_ONLY = {
    # PostgreSQL: on for a standby and for default_transaction_read_only alike.
    "postgresql": "SELECT current_setting('transaction_read_only') = 'on'",
    "mysql": "SELECT @@global.read_only = 1 OR @@session.transaction_read_only = 1",
    "mariadb": "SELECT @@global.read_only = 1 OR @@session.tx_read_only = 1",
}


def read_only_query(dialect: str) -> str | None:
    """Return what answers true in a database of *dialect* that accepts no writes; `None`: that is not known."""
    return _READ_ONLY.get(dialect)


class DatabaseCheck:
    """Asks *database* one small query that reads from it, and whether it can be written to if that is required.

    Args:
        database: The database, over a connection that only probes use.
        require_writable: Whether a read-only database is an error.
        timeout_seconds: The deadline of the check.
    """

    name = "database"
    critical = True
    timed = True

    def __init__(self, database: Database, *, require_writable: bool, timeout_seconds: float) -> None:
        self._database = database
        self._require_writable = require_writable
        self.timeout_seconds: float | None = timeout_seconds

    async def __call__(self) -> None:
        """Ask once.

        Raises:
            DatabaseFault: It did not answer, or refused.
            CheckFailed: It is read-only (`read_only`).
        """
        await self._database.run(self._ask, deadline_seconds=self.timeout_seconds or 1)

    def _ask(self, connection: sa.Connection) -> None:
        if self._database.dialect == "sqlite":
            self._ask_sqlite(connection)
            return
        connection.execute(sa.select(1)).scalar_one()
        query = read_only_query(self._database.dialect)
        if self._require_writable and query and connection.exec_driver_sql(query).scalar():
            raise CheckFailed(Reason.READ_ONLY, "the database accepts no writes")

    def _ask_sqlite(self, connection: sa.Connection) -> None:
        # `SELECT 1` would not touch the file.
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if not self._require_writable:
            return
        connection.rollback()
        try:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            # Only an attempt tells (the lock is granted on a read-only file too); it is rolled back.
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {version}")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                return  # somebody is writing right now: it can be written to
            raise
