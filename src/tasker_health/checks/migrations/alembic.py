"""Alembic: the heads of the script directory against the rows of its version table.

The version table holds only the revisions that nothing else applied descends from or depends on (Alembic
documentation, "Working with Branches"): a head is applied exactly when it has a row, and a newer code's revision
stands in place of the ones below it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from tasker_health.checks.migrations import LOCATION, Gap, Rows, named, not_installed, unusable
from tasker_health.errors import SettingsError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_ALLOWED = "allowed: a script directory (it holds env.py and versions), an alembic.ini or a pyproject.toml"
_REMEDY = "correct it, or the revision; a relative script_location starts at the working directory, %(here)s/ does not"


@dataclass(frozen=True)
class AlembicTool:
    """What the revisions of one script directory expect.

    Attributes:
        heads: Revisions that no other one descends from or depends on.
        known: All revisions.
        table: The version table.
        schema: The schema that it stands in; `None`: that of the connection.
    """

    heads: frozenset[str]
    known: frozenset[str]
    table: str = "alembic_version"
    schema: str | None = None
    query: sa.Select[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = sa.table(self.table, sa.column("version_num"), schema=self.schema)
        object.__setattr__(self, "query", sa.select(table.c.version_num))

    @classmethod
    def at(cls, location: str) -> Self:
        """Return what the scripts at *location* expect; its revisions are imported.

        Raises:
            SettingsError: Alembic is not installed, nothing of its kind is there, or a revision does not load.
        """
        if not os.path.exists(location):  # noqa: PTH110 -- Path's raises where a directory may not be entered
            raise SettingsError(LOCATION, repr(location), f"not there; {_ALLOWED}")
        try:
            scripts, table, schema = _scripts(location)
            heads = frozenset(script.revision for script in scripts.get_revisions("heads"))
            known = frozenset(script.revision for script in scripts.walk_revisions())
        except ModuleNotFoundError as error:
            if error.name == "alembic":
                raise not_installed("alembic") from None
            raise unusable(location, error, _REMEDY) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a revision is a module of the user's
            raise unusable(location, error, _REMEDY) from None
        if not any(Path(scripts.dir, name).exists() for name in ("env.py", "versions")):
            raise SettingsError(LOCATION, repr(location), f"no script directory; {_ALLOWED}")
        return cls(heads, known | heads, table, schema)

    def compare(self, rows: Rows) -> Gap:
        """Return what lies between the code and the *rows*. See `MigrationTool.compare`."""
        applied = {row[0] for row in rows}
        unknown = applied - self.known
        missing = self.heads - applied
        # A head without a row may lie below an unknown revision. One below which a known row still stands does not.
        if unknown and not applied & self.known - self.heads:
            missing = frozenset()
        return Gap(pending=named(missing), ahead=named(unknown))


def _scripts(location: str) -> tuple[ScriptDirectory, str, str | None]:
    """Return the scripts at *location*, and the name and the schema of the version table."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    if Path(location).is_dir():
        return ScriptDirectory(location), "alembic_version", None
    config = Config(toml_file=location) if Path(location).name == "pyproject.toml" else Config(location)
    option = getattr(config, "get_alembic_option", config.get_main_option)  # older ones read alembic.ini only
    table = option("version_table") or "alembic_version"
    return ScriptDirectory.from_config(config), table, option("version_table_schema")
