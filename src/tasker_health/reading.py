"""Reads sources through the cache: fresh facts at once, old ones refreshed by one asker for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from tasker_health.assessment import Reading
from tasker_health.cache import Cache, Entry
from tasker_health.clock import Clock
from tasker_health.deadline import within
from tasker_health.model import Reason
from tasker_health.reasons import reason_of
from tasker_health.runner import SingleFlight
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

log = logging.getLogger(__name__)

_GRACE_SECONDS = 0.25
"""How much longer than its deadline a source may take before it is left to itself."""


class SourceReader:
    """Answers the newest facts of one source.

    Args:
        source: What is read.
        cache: Where its facts wait.
        settings: How old they may become.
        clock: Measures their age.
    """

    def __init__(self, source: Source, cache: Cache, settings: HealthSettings, clock: Clock) -> None:
        self._source = source
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._refresh: SingleFlight[Entry] = SingleFlight(self._read)
        self._fault: Reason | None = None

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
        age = self._age(entry)
        if entry is not None and (age < self._settings.cache_duration_seconds or self._may_serve_old(age)):
            return self._as_reading(entry, own=False)
        try:
            fresh = await self._refresh()
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 -- logged once, in _read
            return Reading(name=self.name, fault=self._fault) if entry is None else self._as_reading(entry, own=False)
        return self._as_reading(fresh, own=True)

    async def close(self) -> None:
        """End the reading under way and give up the connection."""
        await self._refresh.cancel()
        await self._source.close()

    def _may_serve_old(self, age: float) -> bool:
        """Whether old facts serve an asker who comes while they are being read again."""
        oldest = self._settings.cache_duration_seconds + self._settings.status_timeout_seconds
        return self._refresh.in_flight and self._settings.cache_duration_seconds > 0 and age <= oldest

    def _as_reading(self, entry: Entry, *, own: bool) -> Reading:
        return Reading(
            name=self.name,
            facts=entry.facts,
            read_at=entry.read_at,
            age_seconds=self._age(entry),
            fault=None if own else self._fault,
            own=own,
        )

    def _age(self, entry: Entry | None) -> float:
        return 0.0 if entry is None else max(0.0, self._clock.monotonic() - entry.read_at_monotonic)

    async def _read(self) -> Entry:
        seconds = self._settings.status_timeout_seconds
        # The moment before the snapshot: an age that is wrong is wrong on the safe side.
        read_at, read_at_monotonic = self._clock.now(), self._clock.monotonic()
        try:
            facts = await within(self._source.read(seconds), seconds + _GRACE_SECONDS)
        except Exception as error:
            self._note(reason_of(error), f"{type(error).__name__}: {error}")
            raise
        entry = Entry(facts, read_at, read_at_monotonic)
        await self._cache.put(self.name, entry)
        self._note(None, "")
        return entry

    def _note(self, fault: Reason | None, detail: str) -> None:
        """Remember *fault*, and log it when it is not the one that was there already."""
        if fault is not self._fault:
            if fault is None:
                log.warning("source %s: readable again", self.name)
            else:
                log.warning("source %s: cannot be read (%s): %s", self.name, fault, detail)
        self._fault = fault


async def read_all(readers: Sequence[SourceReader]) -> list[Reading]:
    """Return the reading of every one of *readers*, read side by side."""
    if len(readers) == 1:
        return [await readers[0].reading()]
    return list(await asyncio.gather(*(reader.reading() for reader in readers)))
