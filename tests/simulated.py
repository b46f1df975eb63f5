"""A fleet in one event loop whose time is simulated: hours pass in milliseconds, the same way in each run."""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fakes import FakeClock, facts_of, settings_of, shared_of
from tasker_health.cache.memory import MemoryCache
from tasker_health.counters import SourceCounts
from tasker_health.errors import CacheFault, SourceFault
from tasker_health.model import Facts, Reason
from tasker_health.reading import SourceReader
from tasker_health.renewal import Renewal

AGREE_SECONDS = 1e-6
"""By how much two ways of adding up the same seconds may differ."""

_TURN_SECONDS = 1e-7
"""How long each turn of the loop takes: time that stands still would never make up for a rounding."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that, instead of waiting, moves its clock to the moment that it would wait for."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        """Return the simulated time."""
        return self.clock.running

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """What is still to happen."""
        return [timer for timer in self._scheduled if not timer.cancelled()]


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        """Return what is ready now; let *timeout* pass."""
        assert timeout is not None, "nothing will ever happen: somebody waits for ever"
        self._clock.move(max(timeout, _TURN_SECONDS))
        return super().select(0)


def simulated(test):
    """Return *test*, a coroutine of a `Fleet`, as a plain function."""

    @functools.wraps(test)
    def run(*arguments, **options):
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            runner.run(test(Fleet(runner.get_loop()), *arguments, **options))

    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    return run


class Read(NamedTuple):
    """One reading of the source: by whom, from when to when, and what came of it."""

    replica: str
    began: float
    ended: float
    fault: Reason | None


class SimulatedSource:
    """What the replicas read: `completed` is the moment of the reading in milliseconds of the common clock.

    Attributes:
        seconds: How long the next readings take.
        fault: How they fail, if they do.
        already_seconds: How old facts are already when they are answered.
        log: Every reading that ended; one that was cancelled ends with `not_run`.
        running: How many are under way; `most_running`: how many ever were at once.
    """

    name = "shop"

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.seconds = 0.1
        self.fault: Reason | None = None
        self.already_seconds = 0.0
        self.log: list[Read] = []
        self.begun: list[tuple[str, float]] = []
        self.running = self.most_running = 0

    async def read(self, replica: str) -> Facts:
        """Return the facts of this moment, after a while."""
        began = self._clock.monotonic()
        fault: Reason | None = Reason.NOT_RUN
        self.begun.append((replica, began))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.seconds)
            fault = self.fault
        finally:
            self.running -= 1
            self.log.append(Read(replica, began, self._clock.monotonic(), fault))
        if fault is not None:
            raise SourceFault(fault, "it is away")
        return facts_of(
            completed=round((began - self.already_seconds) * 1000), pending=0, age_seconds=self.already_seconds
        )


class _Connection:
    """The source as one replica reads it."""

    def __init__(self, source: SimulatedSource, replica: str) -> None:
        self.name = source.name
        self._source, self._replica = source, replica
        self.closed = 0

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts."""
        return await self._source.read(self._replica)

    async def close(self) -> None:
        """Count the calls."""
        self.closed += 1


class SimulatedCache(MemoryCache):
    """A cache that all replicas share, with troubles.

    Attributes:
        seconds: How long each question takes.
        fault: How it fails, if it does.
        hangs: Whether it answers nothing.
        coarse_seconds: Its ages are whole numbers of that, rounded up.
        asked: How many questions came.
        answer_seconds: How much longer what was found is on its way back.
        looked: Is set when something has been looked for `looks_left` times, and once more.
        meanwhile: What happens, once, while the next lease is asked for.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.monotonic)
        self.seconds = 0.001
        self.fault: Reason | None = None
        self.hangs = False
        self.asked = 0
        self.answer_seconds = 0.0
        self.looked: asyncio.Event | None = None
        self.looks_left = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    def empty(self) -> None:
        """Forget everything, as a restart does."""
        self._kept.clear()

    @property
    def leases(self) -> list[str]:
        """Every lease that somebody has."""
        return [key for key in list(self._kept) if key.endswith(":lease") and self._alive(key)]

    async def get(self, key):
        """Return what lies there."""
        await self._trouble()
        held = await super().get(key)
        if self.looked is not None and self.looks_left == 0:
            self.looked.set()
        self.looks_left -= 1
        await asyncio.sleep(self.seconds / 2 + self.answer_seconds)
        if held is not None and self.coarse_seconds:
            held = held._replace(age_seconds=-(-held.age_seconds // self.coarse_seconds) * self.coarse_seconds)
        return held

    async def put(self, key, value, keep_seconds):
        """Keep it."""
        await self._trouble()
        await super().put(key, value, keep_seconds)
        await asyncio.sleep(self.seconds / 2)

    async def acquire(self, key, holder, seconds):
        """Grant the lease, or not."""
        await self._trouble()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        granted = await super().acquire(key, holder, seconds)
        await asyncio.sleep(self.seconds / 2)
        return granted

    async def release(self, key, holder):
        """End the lease."""
        await self._trouble()
        await super().release(key, holder)
        await asyncio.sleep(self.seconds / 2)

    async def _trouble(self):
        self.asked += 1
        await asyncio.sleep(3600 if self.hangs else self.seconds / 2)
        if self.fault is not None:
            raise CacheFault(self.fault, "in trouble")


class ReplicaClock:
    """The clock of one machine: it ticks as all of them, and is *skew_seconds* ahead of the truth."""

    def __init__(self, clock: FakeClock, skew_seconds: float) -> None:
        self._clock = clock
        self.skew_seconds = skew_seconds

    def now(self) -> float:
        """Return the wall-clock time, wrong as it is."""
        return self._clock.now() + self.skew_seconds

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return self._clock.monotonic()


class Replica:
    """One process of the fleet: its reader, the renewal inside it, and its own way to the cache."""

    def __init__(self, fleet: Fleet, name: str, skew_seconds: float) -> None:
        self.name = name
        self.clock = ReplicaClock(fleet.clock, skew_seconds)
        self.shared = shared_of(fleet.cache, self.clock)
        self.connection = _Connection(fleet.source, name)
        self.counts = SourceCounts()
        self.reader = SourceReader(self.connection, self.shared, fleet.settings, self.clock, self.counts)
        self.renewal = Renewal(self.connection, self.shared, fleet.settings, self.clock, SourceCounts())


class Fleet:
    """Replicas that share one cache and read one source, in simulated time."""

    def __init__(self, loop: SimulatedLoop, **health: object) -> None:
        self.loop, self.clock = loop, loop.clock
        self.cache = SimulatedCache(self.clock)
        self.source = SimulatedSource(self.clock)
        self.settings = settings_of(health={"cache_duration_seconds": 1, **health}).health

    def set(self, **health: object) -> Fleet:
        """Change the settings for the replicas that are made from now on."""
        self.settings = settings_of(health={"cache_duration_seconds": 1, **health}).health
        return self

    def replica(self, name: str = "a", skew_seconds: float = 0.0) -> Replica:
        """Return a process that has just started."""
        return Replica(self, name, skew_seconds)

    def replicas(self, *names: str) -> list[Replica]:
        """Return processes that have just started, their clocks minutes apart."""
        skews = [0.0, 300.0, -300.0, 60.0, -1.5, 1.5]
        return [Replica(self, name, skews[number % len(skews)]) for number, name in enumerate(names)]

    def age_of(self, facts: Facts) -> float:
        """Return how old *facts* truly are."""
        return self.clock.monotonic() - facts.completed / 1000
