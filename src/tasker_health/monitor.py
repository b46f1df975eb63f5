"""The heart: answers live, ready, startup and status, and owns what is started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET

from tasker_health.cache.shared import SharedCache
from tasker_health.checks import Check
from tasker_health.clock import Clock, SystemClock, timestamp
from tasker_health.counters import Counters, Vitals
from tasker_health.errors import MonitorLoopError
from tasker_health.kept import Kept
from tasker_health.model import (
    CheckResult,
    CheckStatus,
    DetailedStatusReport,
    Liveness,
    Readiness,
    Reason,
    Startup,
    StatusReport,
)
from tasker_health.readiness import groups_of, only, verdict
from tasker_health.runner import NOT_RUN, Runner
from tasker_health.settings import HealthSettings
from tasker_health.single_flight import RunEndedError, SingleFlight
from tasker_health.slo.objectives import Objectives
from tasker_health.sources import Source
from tasker_health.status import Status
from tasker_health.stuck import StuckReport
from tasker_health.stuck.reporter import Stuck
from tasker_health.workers import Roster

if TYPE_CHECKING:  # SQLAlchemy is needed only where there is a database
    from tasker_health.database import Database
    from tasker_health.pool import PoolFigures

T = TypeVar("T")

_ENDED = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.DRAINING)
_DRAINING = CheckResult(status=CheckStatus.ERROR, reason=Reason.DRAINING)
_STALLED = CheckResult(status=CheckStatus.ERROR, reason=Reason.STALLED)
_LAGS = CheckResult(status=CheckStatus.DEGRADED, reason=Reason.STALLED)


class Monitor:
    """Answers the four questions, for as many askers as there are.

    It belongs to the event loop that it is first asked on. `start` is optional: the first question starts it.

    Args:
        settings: How old answers may be and how long they may take.
        checks: What readiness looks at, in the order of the answer.
        sources: The workflow engines that the status counts.
        shared: Where the fleet keeps its facts.
        databases: Connections of the checks, closed at the end.
        clock: What time it is.
        objectives: How much of what work may fail; `None`: nothing is said of that.
        roster: Tells who works; `None`: nobody reads heartbeats.

    Attributes:
        clock: The same.
        draining: Whether `drain` was called.
        counters: What has been counted here.
        on_status, on_readiness: Are shown every status that is told and every run of the checks; they raise nothing.
        starved_seconds: Answers for how long the worker in this process has taken no work though some waits; 0: it has.
        agree: Is shown every run of the checks first, and answers what is told: see `Quorum`.
        kept_liveness, kept_readiness, kept_status: What serves whoever asks now, without waiting.
    """

    def __init__(
        self,
        settings: HealthSettings,
        *,
        checks: Sequence[Check],
        sources: Sequence[Source],
        shared: SharedCache,
        databases: Sequence[Database] = (),
        clock: Clock | None = None,
        objectives: Objectives | None = None,
        roster: Roster | None = None,
    ) -> None:
        self._settings = settings
        self.clock: Clock = clock or SystemClock()
        self._databases = databases
        self._critical = {check.name: check.critical for check in checks}
        self._groups = groups_of(checks)
        self.counters: Counters = Counters()
        self.counters.cache = shared.counts
        self._runner = Runner(checks, self.clock, self.counters)
        self._status = Status(
            sources, shared, settings, self.clock, self.counters, objectives or Objectives({}), roster
        )
        self._roster = roster
        self._stuck = Stuck(sources, self.clock, deadline_seconds=settings.status_timeout_seconds, roster=roster)
        self._look: SingleFlight[Readiness] = SingleFlight(self._run_checks)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.draining: bool = False
        self.lags: Callable[[], bool] = lambda: False
        self.vitals: Callable[[], Vitals] = Vitals
        self.starved_seconds: Callable[[], float] = float
        self.on_status: Callable[[StatusReport], None] = _unseen
        self.on_readiness: Callable[[Readiness], None] = _unseen
        self.agree: Callable[[Readiness], Readiness] = _as_it_is
        self._lagged = False
        self._waiting_for: dict[str, None] = {}
        self.kept_liveness: Kept[Liveness] = Kept()
        self.kept_readiness: Kept[Readiness] = Kept()
        self.kept_status: Kept[StatusReport] = self._status.kept

    @property
    def check_names(self) -> list[str]:
        """Names that `ready` can be asked for: of the checks, in the order of the answer, and of their groups."""
        return [*self._critical, *self._groups]

    @property
    def service_name(self) -> str:
        """The name of the service."""
        return self._settings.service_name

    @property
    def pools(self) -> list[PoolFigures]:
        """How our own connections to each database of the checks are used now."""
        return [database.figures for database in self._databases]

    @property
    def held_checks(self) -> int:
        """How many checks still run beyond their deadline; a blocking one of them holds a thread."""
        return self._runner.held

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
        await self._stuck.close()
        if self._roster is not None:
            await self._roster.close()
        await self._status.close()
        for database in self._databases:
            await database.close()
        self._loop = None
        self.kept_readiness.end()

    def forget(self) -> None:
        """Begin anew in a process that was forked: what runs on the parent's event loop is the parent's."""
        self._look.forget()
        self._runner.forget()
        self._stuck.forget()
        if self._roster is not None:
            self._roster.forget()
        self._status.forget()
        self._loop, self.draining = None, False

    def live(self) -> Liveness:
        """Return whether this process should be left running; asks nobody, waits for nothing.

        Its timestamp counts whole seconds, so one report serves for what is left of a second.
        """
        report = self._serving(self.kept_liveness)
        if report is None:
            now, starved = self.clock.now(), self.starved_seconds()
            report = Liveness(
                alive=not starved,
                timestamp=timestamp(now),
                service=self._settings.service_name,
                reason="worker_stalled" if starved else UNSET,
                stalled_seconds=round(starved, 1) if starved else UNSET,
            )
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
        report = self._unready(_DRAINING, "server") if self.draining else self._serving(self.kept_readiness)
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

    def stalled(self, name: str | None = None) -> Readiness:
        """Return readiness, or the check or group *name*, as it is while the event loop does not answer.

        May be called in any thread.
        """
        if name is None:
            return self._unready(_STALLED, "event_loop")
        results = dict.fromkeys(self._groups.get(name, [name]), _STALLED)
        return verdict(results, dict.fromkeys(results, True), timestamp(self.clock.now()))

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

    async def status(self, *, renew: bool = True) -> StatusReport:
        """Return how the whole system is, from the cache while the facts are fresh.

        Args:
            renew: Whether that counts as being asked, and so has facts renewed when they expire.
        """
        if self._loop is not asyncio.get_running_loop():
            await self.start()
        report = await self._status.report(renew=renew)
        self.on_status(report)
        return report

    async def stuck(self) -> StuckReport:
        """Return which tasks stand still and why, and who is dead."""
        if self._loop is not asyncio.get_running_loop():
            await self.start()
        return await self._stuck.report()

    def detailed(self, report: StatusReport) -> DetailedStatusReport:
        """Return *report* with what only those may see who have the permission."""
        fields = {name: getattr(report, name) for name in report.__struct_fields__}
        return DetailedStatusReport(**fields, details=self._status.details())

    def drain(self) -> None:
        """Be not ready from now on: this process is about to stop, and whoever sends traffic shall know."""
        self.draining = True
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
        lags = self.lags()
        self.counters.loop_stalls += lags and not self._lagged
        self._lagged = lags
        if lags:
            results["event_loop"] = _LAGS
        report = self.agree(verdict(results, self._critical, timestamp(self.clock.now())))
        if not self.draining:
            self.kept_readiness.keep(report, self.clock.monotonic() + self._settings.readiness_max_age_seconds)
        self.on_readiness(report)
        return report


def _unseen(_report: object) -> None:
    """Look at nothing."""


def _as_it_is(report: Readiness) -> Readiness:
    return report
