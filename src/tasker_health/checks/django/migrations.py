"""The check `migrations` of a Django project, over connections to its own databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tasker_health.checks.django.connection import DjangoConnection
from tasker_health.checks.migrations import MigrationsCheck
from tasker_health.checks.migrations.django import DjangoTool
from tasker_health.database import Database


class DjangoMigrationsCheck(MigrationsCheck):
    """Compares what is applied in each of *databases* with what all apps of the project expect.

    Args:
        databases: Those that are migrated.
        ahead_is_error, timeout_seconds: See `MigrationsCheck`.
    """

    def __init__(
        self, databases: Sequence[Database | DjangoConnection], *, ahead_is_error: bool, timeout_seconds: float
    ) -> None:
        tool = DjangoTool.of(None)
        # Both run what `MigrationsCheck` asks.
        schemas = [(tool, cast("Database", database)) for database in databases]
        super().__init__(schemas, ahead_is_error=ahead_is_error, timeout_seconds=timeout_seconds)
        self._databases = databases

    async def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        for database in self._databases:
            if isinstance(database, Database):
                await database.close()
