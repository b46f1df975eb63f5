"""The heart: answers live, ready, startup and status, and owns what is started and stopped."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET

from tasker_health.assessment import Assessment, Reading, assess
from tasker_health.cache import Cache
from tasker_health.checks import Check
from tasker_health.clock import Clock, SystemClock, timestamp
from tasker_health.errors import MonitorLoopError
from tasker_health.kept import Kept
from tasker_health.model import (
    CacheInfo,
    CheckResult,
    CheckStatus,
    Liveness,
    Readiness,
    Reason,
    Startup,
    StatusReport,
)
from tasker_health.readiness import groups_of, only, verdict
from tasker_health.reading import SourceReader, read_all
from tasker_health.runner import NOT_RUN, RunEndedError, Runner, SingleFlight
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

if TYPE_CHECKING:  # SQLAlchemy is needed only where there is a database
    from tasker_health.database import Database

T = TypeVar("T")

_ENDED = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.DRAINING)
_DRAINING = CheckResult(status=CheckStatus.ERROR, reason=Reason.DRAINING)
_LAGS = CheckResult(status=CheckStatus.DEGRADED, reason=Reason.STALLED)


class Monitor:
    """Answers the four questions, for as many askers as there are.

    It belongs to the event loop that it is first asked on. `start` is optional: the first question starts it.

    Args:
        settings: How old answers may be and how long they may take.
        checks: What readiness looks at, in the order of the answer.
        sources: The workflow engines that the status counts.
        cache: Where facts wait.
        databases: Connections of the checks, closed at the end.
        clock: What time it is.

    Attributes:
        clock: The same.
        kept_liveness, kept_readiness, kept_status: What serves whoever asks now, without waiting.
    """

    def __init__(
        self,
        settings: HealthSettings,
        *,
        checks: Sequence[Check],
        sources: Sequence[Source],
        cache: Cache,
        databases: Sequence[Database] = (),
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self.clock: Clock = clock or SystemClock()
        self._cache = cache
        self._databases = databases
        self._critical = {check.name: check.critical for check in checks}
        self._groups = groups_of(checks)
        self._runner = Runner(checks, self.clock)
        self._readers = [SourceReader(source, cache, settings, self.clock) for source in sources]
        self._look: SingleFlight[Readiness] = SingleFlight(self._run_checks)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self.lags: Callable[[], bool] = lambda: False
        self._waiting_for: dict[str, None] = {}
        self.kept_liveness: Kept[Liveness] = Kept()
        self.kept_readiness: Kept[Readiness] = Kept()
        self.kept_status: Kept[StatusReport] = Kept()

    @property
    def check_names(self) -> list[str]:
        """Names that `ready` can be asked for: of the checks, in the order of the answer, and of their groups."""
        return [*self._critical, *self._groups]

    async def start(self) -> None:
        """Take possession of the running event loop.

        Raises:
            MonitorLoopError: It runs in another one.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise MonitorLoopError
        self._loop = loop

    async def stop(self) -> None:
        """End what runs, close every connection, and keep no answer; it may be started again."""
        await self._look.cancel()
        await self._runner.stop()
        for reader in self._readers:
            await reader.close()
        for database in self._databases:
            await database.close()
        await self._cache.close()
        self._loop = None
        self.kept_readiness.end()
        self.kept_status.end()

    def live(self) -> Liveness:
        """Return whether this process should be left running; asks nobody, waits for nothing.

        Its timestamp counts whole seconds, so one report serves for what is left of a second.
        """
        report = self._serving(self.kept_liveness)
        if report is None:
            now = self.clock.now()
            report = Liveness(alive=True, timestamp=timestamp(now), service=self._settings.service_name)
            self.kept_liveness.keep(report, self.clock.monotonic() + 1 - now % 1)
        return report

    async def ready(self, name: str | None = None) -> Readiness:
        """Return whether this process should get traffic now: from all checks, or from the check or group *name*.

        One run of the checks serves everybody who asks within `readiness_max_age_seconds`.

        Raises:
            KeyError: There is no check and no group called *name*.
        """
        if name is not None and name not in self._critical and name not in self._groups:
            raise KeyError(name)
        report = self._unready(_DRAINING, "server") if self._draining else self._serving(self.kept_readiness)
        if report is None:
            if self._loop is not asyncio.get_running_loop():
                await self.start()
            try:
                report = await self._look()
            except RunEndedError:
                report = self._unready(_ENDED)
        if name is None:
            return report
        if name in self._groups:
            results = {member: report.checks[member] for member in self._groups[name]}
            return verdict(results, self._critical, report.timestamp)
        return only(report, name)

    def startup(self) -> Startup:
        """Return whether this process has finished starting."""
        now = timestamp(self.clock.now())
        if self._waiting_for:
            return Startup(started=False, waiting_for=list(self._waiting_for), timestamp=now)
        return Startup(started=True, timestamp=now)

    def wait_for(self, name: str) -> None:
        """Declare that startup is not over before *name* is done."""
        self._waiting_for[name] = None

    def done(self, name: str) -> None:
        """Say that *name* is done."""
        self._waiting_for.pop(name, None)

    async def status(self) -> StatusReport:
        """Return how the whole system is, from the cache while the facts are fresh."""
        known = self._serving(self.kept_status)
        if known is not None:
            return known
        if self._loop is not asyncio.get_running_loop():
            await self.start()
        readings = await read_all(self._readers, self.clock)
        now = self.clock.now()
        report = self._report(readings, assess(readings, self._settings, now), now)
        self.kept_status.keep(report, self._status_until(readings))
        return report

    def drain(self) -> None:
        """Be not ready from now on: this process is about to stop, and whoever sends traffic shall know."""
        self._draining = True
        self.kept_readiness.end()

    def _serving(self, kept: Kept[T]) -> T | None:
        return kept.value if self.clock.monotonic() < kept.until else None

    def _unready(self, result: CheckResult, extra: str | None = None) -> Readiness:
        """Return a report in which every critical check, or the one called *extra*, has *result*."""
        if extra is None:
            return verdict(dict.fromkeys(self._critical, result), self._critical, timestamp(self.clock.now()))
        last = self.kept_readiness.value
        results = {**(last.checks if last is not None else dict.fromkeys(self._critical, NOT_RUN)), extra: result}
        return verdict(results, {**self._critical, extra: True}, timestamp(self.clock.now()))

    async def _run_checks(self) -> Readiness:
        results = await self._runner.run(self._settings.readiness_timeout_seconds)
        if self.lags():
            results["event_loop"] = _LAGS
        report = verdict(results, self._critical, timestamp(self.clock.now()))
        if not self._draining:
            self.kept_readiness.keep(report, self.clock.monotonic() + self._settings.readiness_max_age_seconds)
        return report

    def _status_until(self, readings: Sequence[Reading]) -> float:
        """Return until when the report made from *readings* is true as it stands: its age counts whole seconds."""
        if not readings or any(reading.fault or reading.own or reading.facts is None for reading in readings):
            return -math.inf
        oldest = max(reading.age_seconds for reading in readings)
        left = min(self._settings.cache_duration_seconds - oldest, 1 - oldest % 1)
        return self.clock.monotonic() + left

    def _report(self, readings: Sequence[Reading], assessment: Assessment, now: float) -> StatusReport:
        known = [reading for reading in readings if reading.facts is not None]
        read_at = min((reading.read_at for reading in known), default=now)
        return StatusReport(
            status=assessment.status,
            reasons=assessment.reasons,
            system_health=assessment.system_health,
            performance_metrics=assessment.performance_metrics,
            database=assessment.database,
            sources=assessment.sources,
            timestamp=timestamp(read_at),
            cache_info=self._cache_info(known, read_at),
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
