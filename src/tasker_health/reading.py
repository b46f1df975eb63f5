"""Answers the newest facts of one source: at once while they are young, and refreshed in the background while asked.

The newest entry is kept here, in this process: a hit asks nobody. When its time to live is over and somebody has
asked for it meanwhile, it is renewed without anybody waiting; who comes in that moment gets the old one, said with
its age. When nobody has asked, nothing runs, and the next asker waits for the facts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from tasker_health.assessment import Reading
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.counters import SourceCounts
from tasker_health.fetch import Entry
from tasker_health.model import Reason, SourceDetail
from tasker_health.renewal import Renewal
from tasker_health.settings import HealthSettings
from tasker_health.single_flight import RunEndedError, SingleFlight
from tasker_health.sources import Source

_BRIEFLY_SECONDS = 0.1
"""How long an asker waits for facts that could not be read the last time, when older ones will do."""

_GRACE_SECONDS = 0.25
"""How much longer than a reading may take its asker waits: it ends by itself before, and knows why it failed."""

_PROMPTLY_SECONDS = 0.5
"""How late after the end of the time to live a renewal may begin to be called prompt: by a timer, on a busy loop."""


class SourceReader:
    """Answers the newest facts of one source.

    Args:
        source: What is read.
        shared: Where the fleet keeps its facts.
        settings: How old they may become.
        clock: Measures their age.
        counts: Where lookups and readings are counted.
    """

    def __init__(
        self,
        source: Source,
        shared: SharedCache,
        settings: HealthSettings,
        clock: Clock,
        counts: SourceCounts | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._counts = counts or SourceCounts()
        self._renewal = Renewal(source, shared, settings, clock, self._counts)
        self._refresh: SingleFlight[Entry] = SingleFlight(self._renew)
        self._newest: Entry | None = None
        self._age_at_refresh = 0.0
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def detail(self) -> SourceDetail:
        """What is known of the last reading, for those who may see it."""
        return self._renewal.detail

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._renewal.name

    async def reading(self, *, renew: bool = True) -> Reading:
        """Return facts that are young enough, or are being renewed just now; wait for them otherwise.

        A failure is never kept as if it were facts: the next asker tries again.

        Args:
            renew: Whether facts are to be renewed when they expire, as somebody may ask again.
        """
        self._asked = self._asked or renew
        newest, age = self._newest, self._age()
        if self._timer is not None and age >= self._settings.cache_duration_seconds:
            self._on_time()  # who comes in the very turn of the loop in which it is due does not wait for it
            self._asked = renew
        if newest is not None and self._will_do(age):
            self._counts.hits += 1
            return self._as_reading(newest, waited=False)
        self._counts.misses += 1
        self._note_beginning()
        try:
            fresh = await self._refresh(self._patience_seconds(newest, age))
        except RunEndedError:
            return self._without(newest, Reason.DRAINING)
        except TimeoutError:
            return self._without(newest, self._renewal.fault or Reason.TIMEOUT)
        except Exception:  # noqa: BLE001 -- logged once, in Renewal
            return self._without(newest, self._renewal.fault)
        return self._as_reading(fresh, waited=True)

    def forget(self) -> None:
        """Leave the reading under way to the process that this one was forked from."""
        self._refresh.forget()
        self._timer = None

    async def close(self) -> None:
        """End the reading under way, forget the facts and give up the connection."""
        await self._refresh.cancel()
        await self._renewal.close()
        if self._timer is not None:  # at the end: whoever has asked meanwhile has set it again
            self._timer.cancel()
        self._newest, self._timer = None, None

    def _age(self) -> float:
        return 0.0 if self._newest is None else self._clock.monotonic() - self._newest.read_at_monotonic

    def _will_do(self, age: float) -> bool:
        """Whether facts of *age* seconds are told without waiting: none that would make the status unhealthy."""
        settings = self._settings
        young = age < settings.cache_duration_seconds or self._is_promptly_renewed()
        return young and age <= settings.status_max_stale_seconds

    def _is_promptly_renewed(self) -> bool:
        """Whether a renewal is under way that began when the time to live was over: so facts are one refresh late."""
        duration = self._settings.cache_duration_seconds
        return self._refresh.in_flight and duration > 0 and self._age_at_refresh <= duration + _PROMPTLY_SECONDS

    def _patience_seconds(self, newest: Entry | None, age: float) -> float:
        """Return how long an asker waits: briefly when reading has failed before and the last facts will do."""
        failed = self._renewal.fault is not None
        usable = newest is not None and failed and age <= self._settings.status_max_stale_seconds
        return _BRIEFLY_SECONDS if usable else self._settings.status_timeout_seconds + _GRACE_SECONDS

    def _without(self, newest: Entry | None, fault: Reason | None) -> Reading:
        """Return what there is when nothing could be read."""
        if newest is None:
            return Reading(name=self.name, fault=fault)
        return replace(self._as_reading(newest, waited=False), fault=fault)

    def _as_reading(self, entry: Entry, *, waited: bool) -> Reading:
        own = waited and entry.own
        if entry.facts is None:
            return Reading(name=self.name, fault=self._renewal.fault)
        return Reading(
            name=self.name,
            facts=entry.facts,
            read_at=entry.read_at,
            read_at_monotonic=entry.read_at_monotonic,
            fault=None if own else self._renewal.fault,
            own=own and not entry.facts.age_seconds,  # what was counted before nobody has waited for
        )

    def _note_beginning(self) -> None:
        if not self._refresh.in_flight:
            self._age_at_refresh = self._age()

    async def _renew(self) -> Entry:
        entry = await self._renewal(self._newest)
        newest = self._newest
        if newest is not None and (entry.facts is None or entry.read_at_monotonic < newest.read_at_monotonic):
            entry = newest._replace(own=False)  # another process knows less, and told only that it cannot read
        self._newest = entry if entry.facts is not None else None
        self._arm()
        return entry

    def _arm(self) -> None:
        """See to it that the newest facts are renewed when their time to live is over, if they are asked for."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        left = self._settings.cache_duration_seconds - self._age()
        if left > 0 and self._renewal.fault is None:
            self._timer = asyncio.get_running_loop().call_later(left, self._on_time)

    def _on_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._age() < self._settings.cache_duration_seconds:
            self._arm()  # the clock is not that of the loop
        elif self._asked:
            self._asked = False
            self._note_beginning()
            self._refresh.start()


async def read_all(readers: Sequence[SourceReader], clock: Clock, *, renew: bool = True) -> list[Reading]:
    """Return the reading of every one of *readers*, read side by side, with its age when the last one was there."""
    if len(readers) == 1:
        # No task of its own: facts from memory then come without waiting, and one asker a second makes the report.
        readings = [await readers[0].reading(renew=renew)]
    else:
        readings = await asyncio.gather(*(reader.reading(renew=renew) for reader in readers))
    now = clock.monotonic()
    return [
        reading if reading.facts is None else replace(reading, age_seconds=max(0.0, now - reading.read_at_monotonic))
        for reading in readings
    ]
