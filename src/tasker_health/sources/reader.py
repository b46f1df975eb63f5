"""What reads an engine's tables for a source that keeps a tally, and where the tally waits: their contracts."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa

from tasker_health.model import Facts

S = TypeVar("S")


class Reading(NamedTuple):
    """What a poll has found.

    Attributes:
        facts: The figures.
        replaced: Whether they are wrong: something has happened that the tally cannot see.
        suspicious: Whether they may be wrong, and should be verified.
    """

    facts: Facts
    replaced: bool
    suspicious: bool


class Counted(NamedTuple, Generic[S]):
    """What a full count has found.

    Attributes:
        facts: The figures.
        state: For polls to go on from; `None` where none can.
    """

    facts: Facts
    state: S | None


class Verified(NamedTuple, Generic[S]):
    """The figures of one snapshot, counted in both ways, and a state to go on from; `None` where none can."""

    by_tally: Facts
    by_count: Facts
    state: S | None


class Reader(Protocol[S]):
    """Reads an engine's tables over connections that are handed to it."""

    def poll(self, connection: sa.Connection, state: S, seconds: float) -> Reading:
        """Return the figures by the tally, and whether they are to be trusted."""

    def count(self, connection: sa.Connection, seconds: float) -> Counted[S]:
        """Return the figures by counting everything, and a state to go on from where one can be had."""

    def verify(self, connection: sa.Connection, state: S, seconds: float) -> Verified[S]:
        """Return the figures of one snapshot, counted in both ways; *state* is left as it is."""


class Checkpoint(Protocol[S]):
    """Where a tally waits while nothing runs."""

    async def restored(self) -> S | None:
        """Return what was kept, once; `None` when there is nothing to be believed."""

    async def keep(self, state: S, *, now: bool = False) -> None:
        """Keep *state*: once in a while, or *now*."""
