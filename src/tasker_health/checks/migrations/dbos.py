"""DBOS: the versions of its tables that we can read against the one in `dbos_migrations`.

DBOS migrates its tables itself when a process of it starts; the version is the number of its last migration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tasker_health.checks.migrations import Gap, Rows
from tasker_health.errors import CheckFailed, ConfigurationError
from tasker_health.model import Reason


@dataclass(frozen=True)
class DbosTool:
    """What the reader of DBOS' tables expects.

    Attributes:
        versions: Those that are known.
        dialect: SQL dialect of the database.
        schema: Schema of the tables; it counts on PostgreSQL only.

    Raises:
        ConfigurationError: DBOS does not run on this kind of database.
    """

    versions: tuple[int, ...]
    dialect: str
    schema: str = "dbos"
    query: sa.Select[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dialect not in {"postgresql", "sqlite"}:
            raise ConfigurationError(
                f"migrations of DBOS: it runs on sqlite and postgresql, not {self.dialect};"
                " correct the URL of the source, or migrations.url"
            )
        table = sa.table("dbos_migrations", schema=self.schema if self.dialect == "postgresql" else None)
        object.__setattr__(self, "query", sa.select(sa.column("version")).select_from(table))

    def compare(self, rows: Rows) -> Gap:
        """Return what lies between the code and the *rows*. See `MigrationTool.compare`."""
        if any(not isinstance(row[0], int) for row in rows):
            raise CheckFailed(Reason.UNKNOWN_VERSION, "dbos_migrations has a version that is no number")
        found = max((row[0] for row in rows), default=0)
        if found < min(self.versions):
            return Gap(pending=(f"DBOS {min(self.versions)}, found is {found}",))
        if found > max(self.versions):
            return Gap(ahead=(f"DBOS {found}, known is {max(self.versions)}",))
        return Gap()
