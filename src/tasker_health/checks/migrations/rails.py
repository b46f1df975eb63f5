"""Rails: the file names in db/migrate against the rows of `schema_migrations`. No Ruby runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import sqlalchemy as sa

from tasker_health.checks.migrations import LOCATION, Gap, Rows, named
from tasker_health.errors import SettingsError

# Active Record's own form (`MigrationFilenameRegexp`); it looks into subdirectories too.
_FILE = re.compile(r"([0-9]+)_[_a-z0-9]*\.?[_a-z0-9]*\.rb")
_ALLOWED = "allowed: a directory of files such as 20250618153000_create_orders.rb, mostly db/migrate"


@dataclass(frozen=True)
class RailsTool:
    """What the files of one db/migrate expect.

    Attributes:
        versions: The number that each file name begins with.
    """

    versions: frozenset[int]
    query: ClassVar[sa.Select[Any]] = sa.select(sa.column("version")).select_from(sa.table("schema_migrations"))

    @classmethod
    def at(cls, location: str) -> Self:
        """Return what the files under *location* expect.

        Raises:
            SettingsError: It is no directory, cannot be read, or holds no migration.
        """
        try:
            list(Path(location).iterdir())  # rglob says nothing of a directory that is not there
        except OSError as error:
            raise SettingsError(LOCATION, repr(location), f"{error.strerror}; {_ALLOWED}") from None
        names = (_FILE.fullmatch(path.name) for path in Path(location).rglob("*.rb"))
        versions = frozenset(int(name[1]) for name in names if name)
        if not versions:
            raise SettingsError(LOCATION, repr(location), f"holds no migration; {_ALLOWED}")
        return cls(versions)

    def compare(self, rows: Rows) -> Gap:
        """Return what lies between the code and the *rows*. See `MigrationTool.compare`.

        Unknown versions below the newest file are those of old files that were deleted, which is usual.
        """
        applied = {int(version) for (version,) in rows if str(version).isdecimal()}
        newest = max(self.versions)
        return Gap(
            pending=named(self.versions - applied),
            ahead=named(version for version in applied if version > newest),
        )
