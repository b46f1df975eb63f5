"""Stand-ins that tests drive by hand: those of the testing kit, and what only tests of our own need."""

from __future__ import annotations

from tasker_health.cache.memory import MemoryCache
from tasker_health.cache.sealing import Sealer
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import SystemClock
from tasker_health.model import Facts
from tasker_health.testing import FakeClock, FixedSource, facts_of, settings_of
from tasker_health.testing.gate import Gate

__all__ = ["FakeClock", "FakeSource", "facts_of", "settings_of", "shared_of"]


def shared_of(cache=None, clock=None, *, service="tasker", namespace="tasker_health", key=None, timeout_seconds=0.25):
    """Return *cache*, or one in memory, as a fleet shares it."""
    clock = clock or SystemClock()
    sealer = Sealer(namespace, service, key)
    return SharedCache(cache or MemoryCache(clock.monotonic), sealer, timeout_seconds=timeout_seconds, clock=clock)


class FakeSource(FixedSource):
    """The kit's source, whose faults say something that must not leave.

    Attributes:
        gate: Holds up its readings while it is clear.
    """

    def __init__(self, facts: Facts | None = None, name: str = "shop") -> None:
        super().__init__(facts, name=name)
        self.detail = "secret detail of the fault"

    @property
    def gate(self) -> Gate:
        """What it waits for."""
        return self._gate
