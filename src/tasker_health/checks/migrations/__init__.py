"""The check `migrations`: is the schema where the code expects it?

A tool says what its code expects and what its version table holds. The rules for whoever writes one:

* What the code expects is read once, when the tool is made, and never by a probe: reading it imports the user's
  modules. A location that is not one, or code that does not load, is `SettingsError` and stops the start.
* What is applied is read by `query`: one SELECT from the version table, on our connection. A table that is not
  there fails by itself, with the reason `missing`.
* `compare` is pure. `pending` is what the code has and the database has not; `ahead` is the other way round. A
  migration whose code was deleted because it was long applied everywhere is neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from tasker_health.database import Database
from tasker_health.errors import CheckDegraded, CheckFailed, SettingsError
from tasker_health.model import Reason
from tasker_health.redaction import redacted

KIND = "migrations.kind"
LOCATION = "migrations.location"

Rows = Sequence[Sequence[Any]]

_MOST_NAMES = 5


@dataclass(frozen=True)
class Gap:
    """What lies between the code and the database: names of migrations, for the log."""

    pending: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()


class MigrationTool(Protocol):
    """One migration tool, with what its code expects. See the rules of the room."""

    @property
    def query(self) -> sa.Select[Any]:
        """Reads the version table."""

    def compare(self, rows: Rows) -> Gap:
        """Return what lies between the code and the *rows* that `query` gave."""


class MigrationsCheck:
    """Compares what is applied with what the code expects, in every one of *schemas*.

    Args:
        schemas: Each tool with the database that its version table stands in.
        ahead_is_error: Whether a database ahead of the code is an error; otherwise it is degraded, because a rolling
            migration puts it ahead of every old process that still serves.
        timeout_seconds: The deadline of the check.
    """

    name = "migrations"
    critical = True
    timed = False

    def __init__(
        self, schemas: Sequence[tuple[MigrationTool, Database]], *, ahead_is_error: bool, timeout_seconds: float
    ) -> None:
        self._schemas = tuple(schemas)
        self._ahead: type[CheckFailed] = CheckFailed if ahead_is_error else CheckDegraded
        self._deadline_seconds = timeout_seconds
        self.timeout_seconds: float | None = timeout_seconds

    async def __call__(self) -> None:
        """Compare once.

        Raises:
            DatabaseFault: A database did not answer, or has no version table (`missing`).
            CheckFailed: A migration is not applied (`pending`).
            CheckDegraded: A migration is applied that the code does not know (`ahead`).
        """
        gaps = await asyncio.gather(*(self._gap(tool, database) for tool, database in self._schemas))
        if pending := [name for gap in gaps for name in gap.pending]:
            raise CheckFailed(Reason.PENDING, f"not applied: {_listed(pending)}")
        if ahead := [name for gap in gaps for name in gap.ahead]:
            raise self._ahead(Reason.AHEAD, f"applied, but unknown to the code: {_listed(ahead)}")

    async def _gap(self, tool: MigrationTool, database: Database) -> Gap:
        def read(connection: sa.Connection) -> Rows:
            return [tuple(row) for row in connection.execute(tool.query)]

        return tool.compare(await database.run(read, deadline_seconds=self._deadline_seconds))


def named(keys: Iterable[object]) -> tuple[str, ...]:
    """Return *keys* of migrations as the names of a `Gap`, in order."""
    return tuple(sorted(map(str, keys)))


def unusable(location: str | None, error: BaseException, remedy: str) -> SettingsError:
    """Return the error that the code at *location* does not load, because of *error*, and what to do."""
    why = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
    return SettingsError(LOCATION, repr(location) if location else "not set", f"does not load ({why}); {remedy}")


def not_installed(kind: str) -> SettingsError:
    """Return the error that the library of *kind* is not installed."""
    return SettingsError(KIND, repr(kind), f"its library is not installed; pip install 'tasker-health[{kind}]'")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
