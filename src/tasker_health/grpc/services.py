"""Which services there are to be asked for, and how each of them is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import IntEnum

from tasker_health.monitor import Monitor

OVERALL = ""
READINESS = "readiness"
LIVENESS = "liveness"
STARTUP = "startup"

_OF_THE_PROCESS = frozenset({LIVENESS, STARTUP})


class Serving(IntEnum):
    """`HealthCheckResponse.ServingStatus`, by the numbers of the protocol."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Services:
    """The whole of readiness under two names, liveness, startup, and each check and group under its own.

    A check that has one of the four names is not to be had: the four win.

    Args:
        monitor: Who knows.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._draining = False

    @property
    def names(self) -> list[str]:
        """Every service, each once."""
        return list(dict.fromkeys((OVERALL, READINESS, LIVENESS, STARTUP, *self._monitor.check_names)))

    @property
    def seconds_to_the_next_answer(self) -> float:
        """How long the present readiness answer serves yet."""
        return self._monitor.kept_readiness.until - self._monitor.clock.monotonic()

    async def state(self, name: str) -> Serving:
        """Return how the service *name* is."""
        if name == LIVENESS:
            well = self._monitor.live().alive
        elif name == STARTUP:
            well = self._monitor.startup().started
        elif name in {OVERALL, READINESS}:
            well = (await self._monitor.ready()).ready
        elif name in self._monitor.check_names:
            well = (await self._monitor.ready(name)).ready
        else:
            return Serving.SERVICE_UNKNOWN
        # Looked at after the wait: an answer that was under way when the drain began must not undo it.
        return Serving.SERVING if well and not self.is_drained(name) else Serving.NOT_SERVING

    async def states(self, names: Iterable[str]) -> dict[str, Serving]:
        """Return how the services *names* are; they share one run of the checks."""
        names = list(names)
        return dict(zip(names, await asyncio.gather(*map(self.state, names)), strict=True))

    def drain(self) -> None:
        """Have nothing that stands for traffic serve any more. Whether to restart the process is another question."""
        self._draining = True

    def is_drained(self, name: str) -> bool:
        """Return whether *name* does not serve because of the drain."""
        return self._draining and name not in _OF_THE_PROCESS
