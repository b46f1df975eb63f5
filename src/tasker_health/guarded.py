"""An application with a guard: its heartbeat, and the reports that it publishes for the guard to answer with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Generator

from tasker_health.counters import Vitals
from tasker_health.guard.heartbeat import Heartbeat
from tasker_health.guard.memory import DRAINING
from tasker_health.guard.owner import Guard
from tasker_health.settings import Settings

Reports = dict[str, tuple[int, bytes]]

log = logging.getLogger(__name__)

_LEAST_PERIOD_SECONDS = 0.25


class _NextTurn:
    """Awaited, gives the event loop a turn; made before memory is short, because `asyncio.sleep` needs some."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_NEXT_TURN = _NextTurn()


class Guarded:
    """Keeps the guard informed while it is started.

    Args:
        settings: Periods, and where the guard listens.
        alone, thread: See `Guard`.
        reports: Answers the reports that the guard may need, by name: status code and body.
    """

    def __init__(
        self, settings: Settings, reports: Callable[[], Awaitable[Reports]], *, alone: bool, thread: bool = False
    ) -> None:
        self.guard: Guard = Guard(settings, alone=alone, thread=thread)
        self.heartbeat: Heartbeat = Heartbeat(
            settings.health.heartbeat_seconds, settings.health.loop_lag_warning_seconds
        )
        self._reports = reports
        self._period = max(settings.health.readiness_max_age_seconds, _LEAST_PERIOD_SECONDS)
        self._publisher: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self.guard.renewed = self._due.set  # a new guard knows nothing yet
        self._draining = False
        self._any_stalled = settings.health.liveness_policy == "any"

    @property
    def vitals(self) -> Vitals:
        """What the heartbeat and the guard tell, for exporters."""
        return Vitals(self.heartbeat.lag_seconds, self.guard.restarts)

    @property
    def stands(self) -> bool:
        """Whether the workers of this pod, but for this one, are well enough not to have all of them restarted."""
        return not self._any_stalled or self.guard.others_beat()

    def starve(self, stalled_seconds: float) -> None:
        """Tell the guard for how long the worker in this process has taken no work though some waits; 0: it has."""
        slot = self.guard.slot
        if slot is not None:
            slot.starve(max(1, int(time.monotonic() - stalled_seconds)) if stalled_seconds else 0)

    def open(self) -> None:
        """Start the guard, so that its port answers before slow start-up work begins.

        Raises:
            ConfigurationError: Its port cannot be had.
        """
        self.guard.open()

    def start(self) -> None:
        """Beat and publish on the running event loop."""
        self.open()
        if self._publisher is None:
            self.guard.attach()
            self.heartbeat.start(lambda: self.guard.slot)
            self._publisher = asyncio.get_running_loop().create_task(self._publish_for_ever())

    async def stop(self) -> None:
        """End both, and the guard."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.cancel()
            await asyncio.wait({publisher}, timeout=1)
        self.heartbeat.stop()
        self.guard.close()

    async def drain(self) -> None:
        """Tell the guard at once that this process takes no new traffic."""
        self._draining = True
        with contextlib.suppress(Exception):
            await self._publish()

    async def _publish_for_ever(self) -> None:
        while True:
            # Without memory even a line of the log, or a wait, may fail; the publisher goes on when there is some.
            with contextlib.suppress(MemoryError):
                await self._publish_or_tell()
            with contextlib.suppress(MemoryError):
                self.heartbeat.go_on()
            self._due.clear()
            try:
                await asyncio.wait_for(self._due.wait(), self._period)
            except TimeoutError:
                pass
            except MemoryError:
                await _NEXT_TURN

    async def _publish_or_tell(self) -> None:
        try:
            await self._publish()
        except Exception:
            # The guard says `stalled` when nothing comes any more; what went wrong is told here.
            log.exception("the reports for the guard cannot be made")

    async def _publish(self) -> None:
        reports = await self._reports()
        slot = self.guard.slot
        if slot is not None:
            if self._draining:
                slot.flag(DRAINING)
            slot.publish(reports)
