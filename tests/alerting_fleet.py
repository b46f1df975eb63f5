"""A fleet that alerts, in simulated time: its world, its receiver, and processes that begin, die and are cut off."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import NamedTuple

from fakes import FakeClock, settings_of, shared_of
from simulated import ReplicaClock, SimulatedCache, SimulatedLoop
from tasker_health.alerts import Action, Event
from tasker_health.alerts.alerting import Alerting
from tasker_health.cache import Cache
from tasker_health.clock import timestamp
from tasker_health.counters import AccessCounts, Counters, DeliveryCounts, Vitals
from tasker_health.errors import CacheFault, DeliveryError
from tasker_health.exporters import Snapshot
from tasker_health.model import (
    CacheInfo,
    CheckResult,
    CheckStatus,
    Connections,
    PerformanceMetrics,
    Reason,
    StatusReason,
    StatusReport,
    SystemHealth,
    SystemStatus,
)
from tasker_health.readiness import verdict

SKEWS = [0.0, 300.0, -300.0, 60.0, -1.5, 1.5]

ALERTS = {
    "interval_seconds": 15,
    "for_seconds": 60,
    "clear_seconds": 300,
    "pagerduty": {"routing_key": "0" * 32},
}


def snapshot_of(
    *,
    total=100,
    failed=1,
    settled=100,
    ratio=0.01,
    status=SystemStatus.HEALTHY,
    reasons=(),
    checks=None,
    service="shop",
    now=1_750_260_600.0,
) -> Snapshot:
    """Return a snapshot that says so; *checks* are critical, by name."""
    checks = checks or {"database": CheckResult(status=CheckStatus.OK, response_time_ms=1)}
    at = timestamp(now)
    report = StatusReport(
        status=status,
        reasons=list(reasons),
        system_health=SystemHealth(overall_status=status, total_tasks=total, failed_tasks=failed),
        performance_metrics=PerformanceMetrics(failure_ratio=ratio, settled_tasks=settled),
        database=Connections(),
        sources={},
        timestamp=at,
        cache_info=CacheInfo(cached=False, cache_expires_at=None, age_seconds=0),
    )
    return Snapshot(
        service=service,
        status=report,
        readiness=verdict(checks, dict.fromkeys(checks, True), at),
        started=True,
        counters=Counters(),
        access=AccessCounts(),
        held_checks=0,
        vitals=Vitals(),
    )


class Told(NamedTuple):
    """One event that the receiver has taken: when, from whom, and what."""

    at: float
    process: str
    event: Event


class Receiver:
    """Who is told: incidents by key, as PagerDuty has them.

    Attributes:
        log: Every event taken.
        fault: How sending fails, if it does.
        hangs: Whether sending never returns.
        seconds: How long sending takes.
        attempts, tried_by: How often it was sent to, and by whom.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.log: list[Told] = []
        self.fault: DeliveryError | None = None
        self.hangs = False
        self.seconds = 0.2
        self.attempts = 0
        self.tried_by: set[str] = set()

    @property
    def open(self) -> set[str]:
        """Return the keys of incidents that are open."""
        state: dict[str, Action] = {told.event.dedup_key: told.event.action for told in self.log}
        return {key for key, action in state.items() if action is not Action.RESOLVE}

    @property
    def keys(self) -> set[str]:
        """Return every key that was ever told."""
        return {told.event.dedup_key for told in self.log}

    def count(self, action: Action) -> int:
        """Return how many events had that *action*."""
        return sum(told.event.action is action for told in self.log)

    async def take(self, process: str, event: Event) -> None:
        """Take *event*, or not."""
        self.attempts += 1
        self.tried_by.add(process)
        await asyncio.sleep(36_000 if self.hangs else self.seconds)
        if self.fault is not None:
            raise self.fault
        self.log.append(Told(self._clock.monotonic(), process, event))


class FakeChannel:
    """The way of one process to the receiver."""

    def __init__(self, receiver: Receiver, process: str, name: str = "pagerduty") -> None:
        self.name = name
        self._receiver, self._process = receiver, process
        self.closed = 0
        self.is_cut = False
        self.breaks_at: set[str] = set()
        self.attempts = 0

    async def send(self, event: Event) -> None:
        """Bring it there, if there is a way."""
        self.attempts += 1
        if self.is_cut or event.rule in self.breaks_at:
            raise DeliveryError("no answer")
        await self._receiver.take(self._process, event)

    async def close(self) -> None:
        """Count the calls."""
        self.closed += 1


class SharedSimulatedCache(SimulatedCache):
    """A simulated cache that other processes see."""

    name = "simulated"


class CutOff:
    """One process' way to the cache.

    Attributes:
        fault: Why it is cut off, if it is.
    """

    name = "simulated"

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.fault: Reason | None = None

    @property
    def coarse_seconds(self) -> float:
        """Return by how much an age may be too much."""
        return self._cache.coarse_seconds

    def __getattr__(self, name):
        """Return the question *name*, which fails while this process is cut off."""

        async def ask(*arguments):
            if self.fault is not None:
                raise CacheFault(self.fault, "cut off")
            return await getattr(self._cache, name)(*arguments)

        return ask


class MachineClock(ReplicaClock):
    """The clock of one machine, whose monotonic time began at another moment than that of any other."""

    def __init__(self, clock: FakeClock, skew_seconds: float, booted: float) -> None:
        super().__init__(clock, skew_seconds)
        self._booted = booted

    def monotonic(self) -> float:
        """Return the monotonic time since the machine was started."""
        return super().monotonic() + self._booted


class World:
    """What there is to see.

    Attributes:
        facts: Arguments of `snapshot_of`, for all.
        failing: Processes whose check `database` fails.
        unknown: Processes whose check `database` has not run.
        hanging: Processes of which no snapshot can be taken.
    """

    def __init__(self) -> None:
        self.facts: dict[str, object] = {}
        self.failing: set[str] = set()
        self.unknown: set[str] = set()
        self.hanging: set[str] = set()

    async def look(self, process: str, clock: ReplicaClock) -> Snapshot:
        """Return what *process* sees."""
        await asyncio.sleep(36_000 if process in self.hanging else 0.05)
        result = CheckResult(status=CheckStatus.OK, response_time_ms=1)
        if process in self.unknown:
            result = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.NOT_RUN)
        elif process in self.failing:
            result = CheckResult(status=CheckStatus.ERROR, reason=Reason.TIMEOUT, response_time_ms=800)
        return snapshot_of(**{"now": clock.now(), "checks": {"database": result}, **self.facts})

    def break_down(self) -> None:
        """Let the system be unhealthy."""
        self.facts = {"status": SystemStatus.UNHEALTHY, "reasons": [StatusReason.SOURCE_UNREADABLE]}

    def recover(self) -> None:
        """Let everything be well."""
        self.facts = {}
        self.failing.clear()


class Process:
    """One process of the fleet.

    Attributes:
        readiness: Of its way to the cache.
        deliveries: What it has counted.
    """

    def __init__(self, fleet: AlertFleet, name: str, skew_seconds: float) -> None:
        self.name = name
        self._fleet = fleet
        self.clock = MachineClock(fleet.clock, skew_seconds, 10_000.0 * len(fleet.processes))
        self.way = CutOff(fleet.cache)
        self.deliveries: dict[str, DeliveryCounts] = {}
        shared = shared_of(self.way, self.clock, key=fleet.signing_key)
        self.channel = FakeChannel(fleet.receiver, name)
        self.alerting = Alerting(
            fleet.settings,
            [self.channel],
            shared,
            lambda: fleet.world.look(name, self.clock),
            self.deliveries,
            self.clock,
        )
        self.alerting.start()

    @property
    def counts(self) -> DeliveryCounts:
        """Return what it has counted of the channel."""
        return self.deliveries["pagerduty"]

    def die(self) -> None:
        """End without a word, as by SIGKILL."""
        for task in self.alerting._tasks:
            task.cancel()
        self.alerting._tasks = []
        self.way.fault = Reason.UNREACHABLE


class AlertFleet:
    """Processes that share one cache, see one world and tell one receiver."""

    signing_key: str | None = None

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = loop.clock
        self.cache = SharedSimulatedCache(self.clock)
        self.world = World()
        self.receiver = Receiver(self.clock)
        self.processes: list[Process] = []
        self.set()

    def set(self, **alerts: object) -> None:
        """Change the settings for the processes that are made from now on."""
        self.settings = settings_of(alerts={**ALERTS, **alerts}, health={"service_name": "shop"})

    def begin(self, *names: str) -> list[Process]:
        """Begin so many processes, their clocks minutes apart."""
        for name in names:
            self.processes.append(Process(self, name, SKEWS[len(self.processes) % len(SKEWS)]))
        return self.processes[-len(names) :]

    async def end(self) -> None:
        """End all."""
        for process in self.processes:
            process.way.fault = None
            await process.alerting.stop()


def simulated_fleet(test):
    """Return *test*, a coroutine of an `AlertFleet`, as a plain function."""

    async def whole(loop, arguments, options):
        fleet = AlertFleet(loop)
        try:
            await test(fleet, *arguments, **options)
        finally:
            await fleet.end()

    @functools.wraps(test)
    def run(*arguments, **options):
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            runner.run(whole(runner.get_loop(), arguments, options))

    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    return run
