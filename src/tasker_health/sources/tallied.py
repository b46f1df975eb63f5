"""What every source that keeps a tally does beside it: counting everything when it must, and verifying itself."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Generic, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa
from msgspec.structs import asdict, replace

from tasker_health.database import Database
from tasker_health.deadline import retrieve
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.model import Facts, Reason

log = logging.getLogger(__name__)

_COUNTS_SHARE = 0.05
"""Most of the time that may be spent on counting everything, when something asks for it again and again."""

_VERIFY_SHARE = 0.005
_VERIFY_LEAST_SECONDS = 600.0
_INLINE_SHARE = 0.25
"""A count that lasted for less than this share of the deadline is waited for."""

S = TypeVar("S")


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

    def poll(self, connection: sa.Connection, state: S, seconds: float) -> tuple[Facts, bool]:
        """Return the figures, and whether the tally must be begun anew: something has happened that it cannot see."""

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


class TalliedSource(Generic[S]):
    """A source that goes on from a tally where there is one.

    Args:
        name: Its name in the answer.
        database: Where the tables are, over a connection of this source's own.
        counting: The same over another connection, for counting everything, which may take long.
        reader: Reads the engine's tables.
        full_count_timeout_seconds: Longest time of one full count.
        checkpoint: Where the tally waits while nothing runs; `None`: nowhere.
        verify: Whether the tally is verified in the background.

    Attributes:
        drift: By how much the latest verification found the tally wrong; `None`: there was none yet.
        recounts: How often everything was counted.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        counting: Database,
        reader: Reader[S],
        *,
        full_count_timeout_seconds: float,
        checkpoint: Checkpoint[S] | None = None,
        verify: bool = True,
    ) -> None:
        self.name = name
        self.drift: int | None = None
        self.recounts = 0
        self._database = database
        self._counting = counting
        self._reader = reader
        self._timeout = full_count_timeout_seconds
        self._checkpoint = checkpoint
        self._verifies = verify
        self._state: S | None = None
        self._counted: tuple[float, Facts] | None = None
        self._count: asyncio.Task[Facts] | None = None
        self._count_seconds = 0.0
        self._count_ended = 0.0
        self._verification: asyncio.Task[int] | None = None
        self._verified_at = 0.0

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot. See `Source.read`."""
        ends_at = time.monotonic() + deadline_seconds
        if self._state is None and self._checkpoint is not None:
            self._state = await self._checkpoint.restored()
        if self._state is None:
            return await self._from_full_count(ends_at)
        state = self._state
        facts, stale = await self._database.run(
            lambda connection: self._reader.poll(connection, state, deadline_seconds), deadline_seconds=deadline_seconds
        )
        if stale:
            return await self._afresh(facts, ends_at)
        self._begin_verification()
        if self._checkpoint is not None:
            await self._checkpoint.keep(state)
        return replace(facts, drift=self.drift)

    async def verify(self, deadline_seconds: float) -> int:
        """Count everything in one snapshot with a poll; return the sum of the differences, which must be 0.

        Where there are any, the tally goes on from what was counted.

        Raises:
            DatabaseFault: The database did not answer.
        """
        state = self._state
        if state is None:
            return 0
        found: Verified[S] = await self._counting.run(
            lambda connection: self._reader.verify(connection, state, deadline_seconds),
            deadline_seconds=deadline_seconds,
        )
        self.drift = _difference(found.by_tally, found.by_count)
        self._verified_at = time.monotonic()
        if self.drift and self._state is state:
            log.error("source %s: the tally had drifted by %d; it goes on from what was counted", self.name, self.drift)
            self.recounts += 1
            self._state = found.state
        return self.drift

    async def close(self) -> None:
        """Give up the connections, and what runs in the background."""
        for task in (self._count, self._verification):
            if task is not None and not task.done():
                task.cancel()
        self._count = self._verification = None
        if self._state is not None and self._checkpoint is not None:
            await self._checkpoint.keep(self._state, now=True)
        await self._database.close()
        await self._counting.close()

    async def _from_full_count(self, ends_at: float) -> Facts:
        """Return the facts of a full count; of the last one while another one would take too much of the time."""
        if self._counted is not None and not self._may_count():
            counted_at, facts = self._counted
            return replace(facts, age_seconds=time.monotonic() - counted_at)
        task = self._begin_count()
        done, _ = await asyncio.wait({task}, timeout=max(0, ends_at - time.monotonic()))
        if done:
            return task.result()
        if self._counted is not None:
            counted_at, facts = self._counted
            return replace(facts, age_seconds=time.monotonic() - counted_at)
        raise SourceFault(Reason.TIMEOUT, "everything is being counted for the first time, which takes longer")

    async def _afresh(self, facts: Facts, ends_at: float) -> Facts:
        """Return facts counted anew when that is quick; otherwise those of the tally, while it is done."""
        if not self._may_count():
            return facts
        task = self._begin_count()
        if self._count_seconds < _INLINE_SHARE * (ends_at - time.monotonic()):
            await asyncio.wait({task}, timeout=max(0, ends_at - time.monotonic()))
        return task.result() if task.done() else facts

    def _may_count(self) -> bool:
        """Whether another full count would not take too much of the time."""
        running = self._count is not None and not self._count.done()
        pause = self._count_seconds * (1 / _COUNTS_SHARE - 1)
        return running or time.monotonic() - self._count_ended >= pause

    def _begin_count(self) -> asyncio.Task[Facts]:
        """Return the full count under way, beginning one if there is none."""
        if self._count is None or self._count.done():
            self._count = asyncio.get_running_loop().create_task(self._count_everything())
            self._count.add_done_callback(retrieve)
        return self._count

    async def _count_everything(self) -> Facts:
        began = time.monotonic()
        counted: Counted[S] = await self._counting.run(
            lambda connection: self._reader.count(connection, self._timeout), deadline_seconds=self._timeout
        )
        self.recounts += 1
        self._count_ended = time.monotonic()
        self._count_seconds = self._count_ended - began
        self._counted = (began, counted.facts)
        self._state = counted.state
        return counted.facts

    def _begin_verification(self) -> None:
        """Verify the tally in the background, when it is time."""
        due = max(_VERIFY_LEAST_SECONDS, self._count_seconds / _VERIFY_SHARE)
        since = max(self._verified_at, self._count_ended)
        running = self._verification is not None and not self._verification.done()
        if self._verifies and not running and time.monotonic() - since >= due:
            self._verification = asyncio.get_running_loop().create_task(self._verify_quietly())

    async def _verify_quietly(self) -> int:
        try:
            return await self.verify(self._timeout)
        except (DatabaseFault, SourceFault) as error:
            self._verified_at = time.monotonic()
            log.warning("source %s: the tally could not be verified: %s", self.name, error)
            return 0


def _difference(one: Facts, other: Facts) -> int:
    """Return the sum of the differences between all figures of *one* and *other* that are counts of the same tables."""
    left, right = asdict(one), asdict(other)
    return sum(_distance(left[name], right[name]) for name in left if name not in {"connections", "age_seconds"})


def _distance(one: object, other: object) -> int:
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(_distance(one.get(key, 0), other.get(key, 0)) for key in one.keys() | other.keys())
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other)
    return int(one != other)
