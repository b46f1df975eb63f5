"""One refresh for the fleet: facts that somebody has told, or those that this process reads for all.

Whoever finds the facts old asks for a short lease. Who gets it reads the source and tells; the others look again
until it has told, has failed, or has died, which ends its lease. A cache that cannot be asked is no cache: then each
process reads for itself.
"""

from __future__ import annotations

import asyncio

from tasker_health.cache.shared import LEASE_SECONDS, Found, Grant, Look, SharedCache
from tasker_health.clock import Clock
from tasker_health.counters import SourceCounts
from tasker_health.fetch import Entry, Fetch
from tasker_health.model import Reason, SourceDetail
from tasker_health.reasons import reason_of
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

_EXTEND_SECONDS = 0.25
"""How often the lease is asked for again while the source is read: three times in its term."""

_LOOK_SECONDS, _MOST_LOOK_SECONDS = 0.05, 0.25
"""How soon, and how rarely at most, it is looked whether another process has told."""

_FAULT_SECONDS = 1.0
"""How long a failure that another process has told keeps this one from trying: the fleet tries once a second."""

_KEEP_MORE_SECONDS = 60
"""How much longer than they can serve facts lie in the cache, so that a process that starts knows the last ones."""

_CLOCKS_AGREE_SECONDS = 2
"""Two clocks that differ by less are one: then all processes say the same time of the same facts."""


class Renewal:
    """Gets newer facts of one source.

    Args:
        source: What is read.
        shared: Where the fleet is told.
        settings: How old facts may become, and how long reading may take.
        clock: Measures their age.
        counts: Where readings are counted.

    Attributes:
        name: Name of the source.
    """

    def __init__(
        self, source: Source, shared: SharedCache, settings: HealthSettings, clock: Clock, counts: SourceCounts
    ) -> None:
        self._source = source
        self._shared = shared
        self._settings = settings
        self._clock = clock
        self._fetch = Fetch(source, settings.status_timeout_seconds, clock, counts)
        self.name: str = source.name
        self._told_as = told_as(source)
        self._honours_leases = True

    @property
    def fault(self) -> Reason | None:
        """Why the latest reading failed, here or elsewhere; `None`: it did not."""
        return self._fetch.fault

    @property
    def detail(self) -> SourceDetail:
        """What is known of the last reading here, for those who may see it."""
        return self._fetch.detail

    async def __call__(self, newest: Entry | None) -> Entry:
        """Return facts that are younger than the time to live, or the last ones with the fault that another one told.

        Args:
            newest: The best that this process knows, to be told again with the fault when reading fails.

        Raises:
            Exception: What the source raised.
        """
        if not self._settings.cache_duration_seconds:
            return await self._fetch()
        asked_at = self._clock.monotonic()
        look = await self._shared.look(self._told_as)
        grant, told = Grant.UNKNOWN, look.found
        if not self._will_do(told, asked_at):
            grant, told = await self._await_turn(look, asked_at)
        if told is not None and self._will_do(told, asked_at):
            adopted = self._adopted(told)  # now: its age is that of this moment, and letting the lease go takes a while
            if grant is Grant.GRANTED:
                await self._shared.release(self._told_as)
            return adopted
        return await self._read_for_all(grant, _younger(newest, told and self._as_entry(told)))

    async def close(self) -> None:
        """Give up the connection to the source."""
        await self._source.close()

    async def _await_turn(self, look: Look, asked_at: float) -> tuple[Grant, Found | None]:
        """Return whether this process is to read, and what has been told until then; *look* began at *asked_at*.

        A lease is honoured for as long as a reading may take. One that has brought nothing then is not its holder's:
        until something is told again, a lease is worth no more than its term.
        """
        look_seconds, told = _LOOK_SECONDS, look.found
        looked_at = asked_at if look.is_answered else None
        patience_seconds = self._settings.status_timeout_seconds if self._honours_leases else LEASE_SECONDS
        ends_at = self._clock.monotonic() + patience_seconds
        while True:
            grant = await self._shared.acquire(self._told_as)
            if grant is Grant.UNKNOWN:
                return grant, told
            # Also by who has just got the lease: the last holder may have told, and let go, since we looked.
            told, looked_at = await self._look_again(told, looked_at)
            if grant is Grant.GRANTED or self._will_do(told, asked_at):
                self._honours_leases = True
                return grant, told
            if self._clock.monotonic() >= ends_at:
                self._honours_leases = False
                return grant, told
            await asyncio.sleep(look_seconds)
            look_seconds = min(look_seconds * 1.5, _MOST_LOOK_SECONDS)

    async def _look_again(self, before: Found | None, looked_at: float | None) -> tuple[Found | None, float | None]:
        """Return what is told now, and when that was seen; *before* was, at *looked_at*, unless there was no answer.

        What was not there a moment ago has been told since: that bounds its age better than a coarse clock does, by as
        much as that clock is coarse. No more, and not that of what was seen before: somebody has put it back.
        """
        began = self._clock.monotonic()
        told, is_answered = await self._shared.look(self._told_as)
        if told is None:
            return before, began if is_answered and looked_at is None else looked_at
        if looked_at is not None and told.is_new and (before is None or told.written_at != before.written_at):
            told_seconds = max(self._clock.monotonic() - looked_at, told.told_seconds - self._shared.coarse_seconds)
            if told_seconds < told.told_seconds:
                age_seconds = told.age_seconds - told.told_seconds + told_seconds
                told = told._replace(age_seconds=age_seconds, told_seconds=told_seconds)
        return told, began

    def _will_do(self, told: Found | None, asked_at: float) -> bool:
        """Return whether *told* spares a reading.

        It is young enough, or as young as can be where reading takes longer than facts last: told since we asked. Or it
        says that reading has failed just now.
        """
        if told is None:
            return False
        if told.fault is not None:
            return not told.ours and told.told_seconds < _FAULT_SECONDS
        waited_seconds = self._clock.monotonic() - asked_at
        return told.facts is not None and (
            told.age_seconds < self._settings.cache_duration_seconds or told.told_seconds < waited_seconds
        )

    def _adopted(self, told: Found) -> Entry:
        self._fetch.note(told.fault, "told by another process")
        return self._as_entry(told)

    def _as_entry(self, told: Found) -> Entry:
        written_at = told.written_at - (told.age_seconds - told.told_seconds)
        read_at = self._clock.now() - told.age_seconds
        if abs(read_at - written_at) < _CLOCKS_AGREE_SECONDS:
            read_at = written_at
        return Entry(told.facts, read_at, self._clock.monotonic() - told.age_seconds, told.fault, own=False)

    async def _read_for_all(self, grant: Grant, newest: Entry | None) -> Entry:
        """Read and tell the fleet what came of it, also where nobody could say who has the lease."""
        began = self._clock.monotonic()
        lease = asyncio.ensure_future(self._keep_lease()) if grant is Grant.GRANTED else None
        try:
            fresh = await self._fetch()
        except Exception as error:
            if await self._is_news(lease, began, began):
                await self._tell(newest, reason_of(error))
            raise
        else:
            if await self._is_news(lease, began, fresh.read_at_monotonic):
                await self._tell(fresh, None)
        finally:
            if lease is not None:
                lease.cancel()
        if lease is not None:
            await self._shared.release(self._told_as)
        return fresh

    async def _keep_lease(self) -> None:
        """Ask for the lease again and again; end when another process has got it, or nobody can tell."""
        grant = Grant.GRANTED
        while grant is Grant.GRANTED:
            await asyncio.sleep(_EXTEND_SECONDS)
            grant = await self._shared.acquire(self._told_as)

    async def _is_news(self, lease: asyncio.Future[None] | None, began: float, known_at: float) -> bool:
        """Return whether nobody has told facts that are younger than *known_at*.

        Who was quick under its lease need not ask. One that was starved, or stopped, may have lost it and got it back.
        """
        if lease is not None and not lease.done() and self._clock.monotonic() - began < LEASE_SECONDS / 2:
            return True
        told = await self._shared.find(self._told_as)
        return told is None or told.facts is None or self._clock.monotonic() - known_at <= told.age_seconds

    async def _tell(self, entry: Entry | None, fault: Reason | None) -> None:
        settings = self._settings
        facts, age_seconds = None, 0.0
        if entry is not None:
            facts, age_seconds = entry.facts, max(0.0, self._clock.monotonic() - entry.read_at_monotonic)
        keep = settings.cache_duration_seconds + settings.status_max_stale_seconds + settings.status_timeout_seconds
        await self._shared.tell(self._told_as, facts, age_seconds, fault, keep + _KEEP_MORE_SECONDS)


def told_as(source: Source) -> str:
    """Return the name under which the fleet is told the facts of *source*."""
    identity = getattr(source, "identity", "")
    return f"{source.name}/{identity}" if identity else source.name


def _younger(one: Entry | None, other: Entry | None) -> Entry | None:
    """Return the one of two entries whose facts are younger."""
    known = [entry for entry in (one, other) if entry is not None and entry.facts is not None]
    return max(known, key=lambda entry: entry.read_at_monotonic, default=None)
