"""Reads sources through the cache: fresh facts at once, old ones refreshed by one asker for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from tasker_health.assessment import Reading
from tasker_health.cache import Entry
from tasker_health.cache.entries import Entries
from tasker_health.clock import Clock
from tasker_health.counters import SourceCounts
from tasker_health.deadline import within
from tasker_health.errors import SourceFault
from tasker_health.model import Facts, Reason, SourceDetail
from tasker_health.reasons import reason_of, words_of
from tasker_health.runner import RunEndedError, SingleFlight
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

log = logging.getLogger(__name__)

_BRIEFLY_SECONDS = 0.1
"""How long an asker waits for facts that could not be read the last time, when older ones will do."""

COUNTS = (
    *("pending", "running", "completed", "failed", "cancelled", "other", "blocked", "stuck", "retry_queue"),
    *("in_backoff", "window_completed", "window_failed", "retries_settled", "retries_succeeded"),
    *("oldest_pending_seconds", "drift"),
)
"""The figures of facts that must be counts, or `None`."""

_GRACE_SECONDS = 0.1
"""How much longer than its deadline a source may take before it is left to itself."""


class SourceReader:
    """Answers the newest facts of one source.

    Args:
        source: What is read.
        cache: Where its facts wait.
        settings: How old they may become.
        clock: Measures their age.
        counts: Where lookups and readings are counted.
    """

    def __init__(
        self, source: Source, cache: Entries, settings: HealthSettings, clock: Clock, counts: SourceCounts | None = None
    ) -> None:
        self._source = source
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._counts = counts or SourceCounts()
        self._refresh: SingleFlight[Entry] = SingleFlight(self._read)
        self._fault: Reason | None = None
        self._detail = SourceDetail(error=None, read_time_ms=None)

    @property
    def detail(self) -> SourceDetail:
        """What is known of the last reading, for those who may see it."""
        return self._detail

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._source.name

    async def reading(self) -> Reading:
        """Return the facts from the cache while they are fresh, and read them otherwise.

        Who finds them old reads them; who comes while they are being read gets the old ones, unless they are older
        than one refresh may take. A failure is never kept as if it were facts: the next asker tries again.
        """
        entry = await self._cache.get(self.name)
        age = 0.0 if entry is None else self._clock.monotonic() - entry.read_at_monotonic
        if entry is not None and (age < self._settings.cache_duration_seconds or self._may_serve_old(age)):
            self._counts.hits += 1
            return self._as_reading(entry, own=False)
        self._counts.misses += 1
        try:
            fresh = await self._refresh(self._patience_seconds(entry, age))
        except RunEndedError:
            return self._without(entry, Reason.DRAINING)
        except Exception:  # noqa: BLE001 -- logged once, in _read
            return self._without(entry, self._fault)
        return self._as_reading(fresh, own=True)

    def forget(self) -> None:
        """Leave the reading under way to the process that this one was forked from."""
        self._refresh.forget()

    async def close(self) -> None:
        """End the reading under way and give up the connection."""
        await self._refresh.cancel()
        await self._source.close()

    def _may_serve_old(self, age: float) -> bool:
        """Whether old facts serve an asker who comes while they are being read again."""
        oldest = self._settings.cache_duration_seconds + self._settings.status_timeout_seconds
        return self._refresh.in_flight and self._settings.cache_duration_seconds > 0 and age <= oldest

    def _patience_seconds(self, entry: Entry | None, age: float) -> float | None:
        """Return how long an asker waits: briefly when reading has failed before and the last facts will do."""
        usable = entry is not None and self._fault is not None and age <= self._settings.status_max_stale_seconds
        return _BRIEFLY_SECONDS if usable else None

    def _without(self, entry: Entry | None, fault: Reason | None) -> Reading:
        """Return what there is when nothing could be read."""
        return Reading(name=self.name, fault=fault) if entry is None else self._as_reading(entry, own=False)

    def _as_reading(self, entry: Entry, *, own: bool) -> Reading:
        return Reading(
            name=self.name,
            facts=entry.facts,
            read_at=entry.read_at,
            read_at_monotonic=entry.read_at_monotonic,
            fault=None if own else self._fault,
            own=own and not entry.facts.age_seconds,  # what was counted before nobody has waited for
        )

    async def _read(self) -> Entry:
        seconds = self._settings.status_timeout_seconds
        self._counts.reads += 1
        # The moment before the snapshot: an age that is wrong is wrong on the safe side.
        read_at, read_at_monotonic = self._clock.now(), self._clock.monotonic()
        try:
            facts = _plausible(await within(self._source.read(seconds), seconds + _GRACE_SECONDS))
        except Exception as error:
            reason = reason_of(error)
            self._counts.failed(reason)
            self._note(reason, words_of(error))
            self._detail = SourceDetail(error=words_of(error), read_time_ms=self._since(read_at_monotonic))
            raise
        self._detail = SourceDetail(error=None, read_time_ms=self._since(read_at_monotonic))
        entry = Entry(facts, read_at - facts.age_seconds, read_at_monotonic - facts.age_seconds)
        await self._cache.put(self.name, entry)
        self._note(None, "")
        return entry

    def _since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)

    def _note(self, fault: Reason | None, detail: str) -> None:
        """Remember *fault*, and log it when it is not the one that was there already."""
        if fault is not self._fault:
            if fault is None:
                log.warning("source %s: readable again", self.name)
            else:
                log.warning("source %s: cannot be read (%s): %s", self.name, fault, detail)
        self._fault = fault


async def read_all(readers: Sequence[SourceReader], clock: Clock) -> list[Reading]:
    """Return the reading of every one of *readers*, read side by side, with its age when the last one was there."""
    if len(readers) == 1:
        # No task of its own: facts from memory then come without waiting, and one asker a second makes the report.
        readings = [await readers[0].reading()]
    else:
        readings = await asyncio.gather(*(reader.reading() for reader in readers))
    now = clock.monotonic()
    return [
        reading if reading.facts is None else replace(reading, age_seconds=max(0.0, now - reading.read_at_monotonic))
        for reading in readings
    ]


def _plausible(facts: Facts) -> Facts:
    """Return *facts* when they are some: what a source of the user's answers is cached only then."""
    if not isinstance(facts, Facts):
        raise SourceFault(Reason.INVALID, f"read answered {type(facts).__name__}; it must answer Facts")
    for name in COUNTS:
        value = getattr(facts, name)
        if isinstance(value, bool | float | str) or (isinstance(value, int) and value < 0):
            raise SourceFault(Reason.INVALID, f"{name} = {value!r}; it must be a count or None")
    return facts
