"""The status: facts of all sources, their judgement, and what is true of the very response that carries them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from tasker_health.assessment import Assessment, Noticed, Reading, assess
from tasker_health.blame import Blames
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock, timestamp
from tasker_health.counters import Counters
from tasker_health.flow import Progress
from tasker_health.kept import Kept
from tasker_health.model import CacheInfo, SourceDetail, StatusReason, StatusReport, SystemStatus, WorkerSummary, worst
from tasker_health.reading import SourceReader, read_all
from tasker_health.settings import HealthSettings
from tasker_health.slo.objectives import Objectives
from tasker_health.sources import Source
from tasker_health.work import Urgency
from tasker_health.workers import Roster
from tasker_health.workers.counts import counts_of


class Status:
    """Makes the status report.

    Args:
        sources: The workflow engines that are counted.
        shared: Where the fleet keeps their facts.
        settings: How old facts may be, and from where on the system is degraded.
        clock: What time it is.
        counters: Where lookups and readings are counted.
        objectives: How much of what work may fail; they see what is read.
        roster: Tells who works; `None`: nobody reads heartbeats.

    Attributes:
        kept: The last report, while it is true as it stands.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shared: SharedCache,
        settings: HealthSettings,
        clock: Clock,
        counters: Counters,
        objectives: Objectives,
        roster: Roster | None = None,
    ) -> None:
        self._roster = roster
        self._objectives = objectives
        self._shared = shared
        self._settings = settings
        self._clock = clock
        self._readers = [
            SourceReader(source, shared, settings, clock, counters.source(source.name)) for source in sources
        ]
        self._blames = {source.name: Blames() for source in sources}
        self._progress = {source.name: Progress(settings.stuck_after_seconds) for source in sources}
        self.kept: Kept[StatusReport] = Kept()

    async def report(self, *, renew: bool = True) -> StatusReport:
        """Return how the whole system is, from the cache while the facts are fresh; see `SourceReader.reading`."""
        if self.kept.value is not None and self._clock.monotonic() < self.kept.until:
            return self.kept.value
        readings = await read_all(self._readers, self._clock, renew=renew)
        workers = UNSET if self._roster is None else counts_of(await self._roster.glance())
        self._objectives.see(readings)
        now = self._clock.now()
        report = self._report(readings, assess(readings, self._settings, now, self._noticed(readings)), now, workers)
        self.kept.keep(report, self._true_until(readings))
        return report

    def details(self) -> dict[str, SourceDetail]:
        """Return what is known of each source beyond its figures, for those who may see it."""
        return {reader.name: reader.detail for reader in self._readers}

    def forget(self) -> None:
        """Leave what is being read to the process that this one was forked from."""
        self._shared.forget()
        for reader in self._readers:
            reader.forget()

    async def close(self) -> None:
        """Give up every connection and keep no answer."""
        for reader in self._readers:
            await reader.close()
        await self._shared.close()
        self.kept.end()

    def _noticed(self, readings: Sequence[Reading]) -> dict[str, Noticed]:
        """Return what is noticed of each source over its readings; the same one again costs nothing."""
        noticed = {}
        for name, facts, read_at in ((each.name, each.facts, each.read_at) for each in readings):
            if facts is not None:
                blame = None if facts.outcomes is None else self._blames[name].see(facts.outcomes, read_at)
                noticed[name] = Noticed(stands=self._progress[name].see(facts, read_at), blame=blame)
        return noticed

    def _true_until(self, readings: Sequence[Reading]) -> float:
        """Return until when the report made from *readings* is true as it stands: its age counts whole seconds."""
        if not readings or any(reading.fault or reading.own or reading.facts is None for reading in readings):
            return -math.inf
        oldest = max(reading.age_seconds for reading in readings)
        left = min(self._settings.cache_duration_seconds - oldest, 1 - oldest % 1)
        return self._clock.monotonic() + left

    def _report(
        self,
        readings: Sequence[Reading],
        assessment: Assessment,
        now: float,
        workers: WorkerSummary | UnsetType | None = UNSET,
    ) -> StatusReport:
        known = [reading for reading in readings if reading.facts is not None]
        read_at = min((reading.read_at for reading in known), default=now)
        slos, status, reasons = self._objectives.reports(now), assessment.status, assessment.reasons
        if any(slo.firing is Urgency.PAGE for slo in slos.values()):
            status, reasons = worst([status, SystemStatus.DEGRADED]), [*reasons, StatusReason.ERROR_BUDGET]
        return StatusReport(
            status=status,
            reasons=reasons,
            system_health=assessment.system_health,
            performance_metrics=assessment.performance_metrics,
            database=assessment.database,
            sources=assessment.sources,
            timestamp=timestamp(read_at),
            cache_info=self._cache_info(known, read_at),
            slos=slos or UNSET,
            workers=workers,
        )

    def _cache_info(self, known: Sequence[Reading], read_at: float) -> CacheInfo:
        """Return where the facts in this response come from; `stale` is said when they have expired."""
        if not known:
            return CacheInfo(cached=False, cache_expires_at=None, age_seconds=0)
        duration = self._settings.cache_duration_seconds
        age = max(reading.age_seconds for reading in known)
        # Facts that took longer to read than they last are as fresh as can be for those who waited for them.
        cached = not all(reading.own for reading in known)
        return CacheInfo(
            cached=cached,
            cache_expires_at=timestamp(read_at + duration) if duration else None,
            age_seconds=int(age),
            stale=True if age >= duration and cached else UNSET,
        )
