"""The checks `database_<alias>`: does each database of the project answer a query on a connection of our own?"""

from __future__ import annotations

from typing import Any

from tasker_health.checks.database import DatabaseCheck
from tasker_health.checks.django.connection import DjangoConnection
from tasker_health.database import Database


class AliasCheck(DatabaseCheck):
    """Asks one database of DATABASES as the check `database` does; one that is read-only is well.

    Args:
        name: Of the check.
        database: Where the alias leads to.
        critical: Whether readiness depends on it.
        timeout_seconds: The deadline of the check.
    """

    def __init__(self, name: str, database: Database, *, critical: bool, timeout_seconds: float) -> None:
        super().__init__(database, require_writable=False, timeout_seconds=timeout_seconds)
        self.name = name
        self.critical = critical

    async def close(self) -> None:
        """Close the connection; the next question opens a new one."""
        await self._database.close()


class ConnectionCheck:
    """Asks one database of DATABASES through Django's own driver.

    Args:
        name: Of the check.
        connection: To the alias.
        critical: Whether readiness depends on it.
        timeout_seconds: The deadline of the check.
    """

    timed = True

    def __init__(self, name: str, connection: DjangoConnection, *, critical: bool, timeout_seconds: float) -> None:
        self.name = name
        self.critical = critical
        self.timeout_seconds: float | None = timeout_seconds
        self._connection = connection
        self._deadline_seconds = timeout_seconds

    async def __call__(self) -> None:
        """Ask once.

        Raises:
            DatabaseFault: It did not answer, or refused.
        """
        await self._connection.run(_ask, deadline_seconds=self._deadline_seconds)


def _ask(connection: Any) -> None:
    if connection.vendor == "sqlite":  # `SELECT 1` would not touch the file
        connection.execute("SELECT count(*) FROM sqlite_master")
    else:
        connection.execute(f"SELECT 1{connection.from_nothing}")
