"""The room of sources: read-only readers of workflow engines.

The rules for whoever writes one:

* It only reads, in one snapshot, under a statement timeout, by the database's clock and in UTC.
* Every task counts once: pending + running + completed + failed + cancelled + other is the total.
* A figure that the engine's data cannot tell is `None`, never 0. A state that it does not know is `other`.
* It guards on the schema version that it knows; another one is `SourceFault(Reason.UNKNOWN_VERSION)`.
* It raises `SourceFault` or `DatabaseFault`; partial figures are never returned.
* It may have an `identity`: what tells its figures from those of another source of its name in a shared cache, such
  as whose tables it reads and how long its window is. Without one the name says it all.
* It may have `advice(deadline_seconds)`: what the owner of the tables could do to have it read them faster.
* It may have an `engine`: which one it reads, such as `dbos`; those that the settings name have their kind.
* It may have a `roster`, which is set before it is first read: who works. It reads that before its snapshot. Without
  one, or while that is not known, it says of nobody that he is dead: `blocked` is what can be known without.
* It may have `stuck(deadline_seconds, most)`: which tasks stand still, and why, looked at anew.
* Its module has `source_of(name, wanted, settings)`, which makes it from the settings (`chosen.py` finds it by kind).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypedDict, runtime_checkable

from tasker_health.model import Facts
from tasker_health.work import Findings
from tasker_health.workers import Roster

State = Literal["pending", "running", "completed", "failed", "cancelled", "other"]


class States(TypedDict):
    """How many tasks are in each state of the contract; every task is in exactly one."""

    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int
    other: int


def no_tasks() -> States:
    """Return the states of no task, to be added to."""
    return States(pending=0, running=0, completed=0, failed=0, cancelled=0, other=0)


class Advice(NamedTuple):
    """Something that the owner of an engine's tables could do.

    Attributes:
        statement: In SQL.
        good_for: What would be faster.
    """

    statement: str
    good_for: str


@runtime_checkable
class Source(Protocol):
    """A reader of one workflow engine.

    Attributes:
        name: Its name in the settings and in the answer.
    """

    name: str

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot, within *deadline_seconds*.

        Raises:
            DatabaseFault: The database did not answer.
            SourceFault: It answered something that is not understood.
        """

    async def close(self) -> None:
        """Give up the connection; a later `read` opens a new one."""


@runtime_checkable
class Explaining(Source, Protocol):
    """A source that can say which tasks stand still.

    Attributes:
        roster: Who works; `None`: nobody can know.
    """

    roster: Roster | None

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still and why, in one snapshot, within *deadline_seconds*; *most* tasks of each cause.

        Raises:
            DatabaseFault, SourceFault: As `read`.
        """
