"""Stand-ins that tests drive by hand."""

from __future__ import annotations

import asyncio

from tasker_health.cache.memory import MemoryCache
from tasker_health.cache.sealing import Sealer
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import SystemClock
from tasker_health.errors import SourceFault
from tasker_health.model import Connections, Durations, Facts, Reason
from tasker_health.settings import Settings


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now: float = 1_750_260_600.0) -> None:
        self.time = now
        self.running = 100.0

    def now(self) -> float:
        """Return the wall-clock time."""
        return self.time

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return self.running

    def move(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.time += seconds
        self.running += seconds


def shared_of(cache=None, clock=None, *, service="tasker", namespace="tasker_health", key=None, timeout_seconds=0.25):
    """Return *cache*, or one in memory, as a fleet shares it."""
    clock = clock or SystemClock()
    sealer = Sealer(namespace, service, key)
    return SharedCache(cache or MemoryCache(clock.monotonic), sealer, timeout_seconds=timeout_seconds, clock=clock)


class FakeSource:
    """A source whose facts, faults and pace are set by the test."""

    def __init__(self, facts: Facts | None = None, name: str = "shop") -> None:
        self.name = name
        self.facts = facts or facts_of()
        self.fault: Reason | None = None
        self.reads = 0
        self.closed = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts, once the gate is open."""
        self.reads += 1
        await self.gate.wait()
        if self.fault is not None:
            raise SourceFault(self.fault, "secret detail of the fault")
        return self.facts

    async def close(self) -> None:
        """Count the calls."""
        self.closed += 1


def facts_of(**changes: object) -> Facts:
    """Return plausible facts with *changes*."""
    figures: dict[str, object] = {
        "pending": 45,
        "running": 12,
        "completed": 1180,
        "failed": 13,
        "cancelled": 0,
        "other": 0,
        "blocked": 0,
        "stuck": 0,
        "retry_queue": 3,
        "in_backoff": 1,
        "task_time": Durations(10, 23_400),
        "step_time": Durations(10, 4_500),
        "window_completed": 100,
        "window_failed": 1,
        "retries_settled": 100,
        "retries_succeeded": 87,
        "connections": Connections(active_connections=5, maximum_connections=100, connection_ratio=0.05),
    }
    return Facts(**{**figures, **changes})  # type: ignore[arg-type]


def settings_of(**groups: dict[str, object]) -> Settings:
    """Return settings with *groups* over the defaults, without any environment."""
    return Settings.model_validate(groups)
