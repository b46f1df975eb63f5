"""What every source that keeps a tally does beside it: counting everything when it must, and verifying itself."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Generic, TypeVar

from msgspec.structs import replace

from tasker_health.database import Database
from tasker_health.deadline import retrieve
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.model import CountingMethod, Facts, Reason
from tasker_health.sources.difference import difference
from tasker_health.sources.reader import Checkpoint, Counted, Reader, Verified

log = logging.getLogger(__name__)

_COUNTS_SHARE = 0.05
"""Most of the time that may be spent on counting everything, when something asks for it again and again."""

_OLD_SECONDS, _OLD_COUNTS_SHARE = 30.0, 0.5
"""Facts so old are worth more of the time: by default the status calls them stale when they are twice as old."""

_VERIFY_SHARE = 0.005
_VERIFY_LEAST_SECONDS = 600.0
_SUSPECT_SHARE = 0.01
_SUSPECT_LEAST_SECONDS = 5.0
"""The same when something has raised a suspicion; transactions that are rolled back do."""

_MOST_DRIFTS, _DISTRUST_SECONDS = 3, 3600.0
"""After so many drifts within that time the tally is given up for as long: ids come otherwise than in a row."""

_INLINE_SHARE = 0.25
"""A count that lasted for less than this share of the deadline is waited for."""

S = TypeVar("S")


class TalliedSource(Generic[S]):
    """A source that goes on from a tally where there is one.

    Args:
        name: Its name in the answer.
        database: Where the tables are, over a connection of this source's own.
        counting: The same over another connection, for counting everything, which may take long.
        reader: Reads the engine's tables.
        full_count_timeout_seconds: Longest time of one full count.
        checkpoint: Where the tally waits while nothing runs; `None`: nowhere.
        verify: Whether the tally is verified in the background from time to time, without a suspicion.

    Attributes:
        identity: What tells its figures from those of another source of its name in a shared cache.
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
        self.identity = ""
        self.drift: int | None = None
        self.recounts: int = 0
        self._database = database
        self._counting = counting
        self._reader = reader
        self._timeout = full_count_timeout_seconds
        self._checkpoint = checkpoint
        self._verifies = verify
        self._state: S | None = None
        self._latest: tuple[float, Facts] | None = None
        self._count: asyncio.Task[Facts] | None = None
        self._count_seconds = 0.0
        self._count_ended = 0.0
        self._verification: asyncio.Task[int] | None = None
        self._verified_at = 0.0
        self._drifts: list[float] = []
        self._distrusted_until = 0.0

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot. See `Source.read`."""
        ends_at = time.monotonic() + deadline_seconds
        if self._state is None and self._checkpoint is not None:
            self._state = await self._checkpoint.restored()
        if self._state is None:
            return await self._from_full_count(ends_at)
        state = self._state
        began = time.monotonic()
        found = await self._database.run(
            lambda connection: self._reader.poll(connection, state, deadline_seconds), deadline_seconds=deadline_seconds
        )
        if found.replaced:
            return await self._afresh(found.facts, ends_at)
        facts = replace(found.facts, drift=self.drift)
        self._latest = (began, facts)
        self._begin_verification(soon=found.suspicious)
        if self._checkpoint is not None:
            await self._checkpoint.keep(state)
        return facts

    async def verify(self, deadline_seconds: float) -> int:
        """Count everything in one snapshot with a poll; return the sum of the differences, which must be 0.

        Where there are any, the tally goes on from what was counted.

        Raises:
            DatabaseFault: The database did not answer.
        """
        state = self._state
        if state is None:
            return 0
        began = time.monotonic()
        found: Verified[S] = await self._counting.run(
            lambda connection: self._reader.verify(connection, state, deadline_seconds),
            deadline_seconds=deadline_seconds,
        )
        self._verified_at = time.monotonic()
        self._count_seconds = self._verified_at - began
        self.drift = difference(found.by_tally, found.by_count)
        if self.drift and self._state is state:
            self.recounts += 1
            self._state = self._trusted(found.state)
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
        """Return the facts of a full count; the latest there are while another one would take too much of the time."""
        if self._latest is not None and not self._may_count():
            return self._old()
        task = self._begin_count()
        done, _ = await asyncio.wait({task}, timeout=max(0, ends_at - time.monotonic()))
        if done:
            return task.result()
        if self._latest is not None:
            return self._old()
        raise SourceFault(Reason.TIMEOUT, "everything is being counted for the first time, which takes longer")

    async def _afresh(self, facts: Facts, ends_at: float) -> Facts:
        """Return facts counted anew when that is quick; otherwise the latest that were right, while it is done."""
        if self._may_count():
            task = self._begin_count()
            if self._count_seconds < _INLINE_SHARE * (ends_at - time.monotonic()):
                await asyncio.wait({task}, timeout=max(0, ends_at - time.monotonic()))
            if task.done():
                return task.result()
        return facts if self._latest is None else self._old()

    def _old(self) -> Facts:
        """Return the latest facts, with their age."""
        if self._latest is None:
            raise SourceFault(Reason.NOT_RUN, "nothing was counted yet")
        counted_at, facts = self._latest
        return replace(facts, age_seconds=time.monotonic() - counted_at)

    def _trusted(self, state: S | None) -> S | None:
        """Return *state*, unless the tally has drifted so often that something changes the tables behind its back."""
        now = time.monotonic()
        self._drifts = [at for at in self._drifts if at > now - _DISTRUST_SECONDS] + [now]
        log.error("source %s: the tally had drifted by %s; everything was counted anew", self.name, self.drift)
        if len(self._drifts) < _MOST_DRIFTS:
            return state
        log.error("source %s: it drifts again and again; everything is counted for an hour", self.name)
        self._distrusted_until = now + _DISTRUST_SECONDS
        return None

    def _may_count(self) -> bool:
        """Whether another full count would not take too much of the time."""
        running = self._count is not None and not self._count.done()
        now = time.monotonic()
        is_old = self._latest is not None and now - self._latest[0] >= _OLD_SECONDS
        pause = self._count_seconds * (1 / (_OLD_COUNTS_SHARE if is_old else _COUNTS_SHARE) - 1)
        return running or now - self._count_ended >= pause

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
        facts = counted.facts
        if time.monotonic() < self._distrusted_until:
            self._state, facts = None, replace(facts, method=CountingMethod.FULL_COUNT)
        else:
            self._state = counted.state
        self._latest = (began, facts)
        return facts

    def _begin_verification(self, *, soon: bool) -> None:
        """Verify the tally in the background when it is time, or *soon* because there is a reason to."""
        share, least = (_SUSPECT_SHARE, _SUSPECT_LEAST_SECONDS) if soon else (_VERIFY_SHARE, _VERIFY_LEAST_SECONDS)
        since = time.monotonic() - max(self._verified_at, self._count_ended)
        running = self._verification is not None and not self._verification.done()
        if (soon or self._verifies) and not running and since >= max(least, self._count_seconds / share):
            self._verification = asyncio.get_running_loop().create_task(self._verify_quietly())

    async def _verify_quietly(self) -> int:
        try:
            return await self.verify(self._timeout)
        except (DatabaseFault, SourceFault) as error:
            self._verified_at = time.monotonic()
            log.warning("source %s: the tally could not be verified: %s", self.name, error)
            return 0
