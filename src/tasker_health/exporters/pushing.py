"""Tells monitoring systems unasked, each in its own period: whichever of them hangs costs the others nothing."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from tasker_health.counters import DeliveryCounts
from tasker_health.deadline import within
from tasker_health.errors import DeliveryError
from tasker_health.exporters import PushExporter, Snapshot
from tasker_health.reasons import reason_of, words_of

log = logging.getLogger(__name__)

_MOST_SECONDS = 10
"""Longest wait for one push; a shorter period bounds it, too."""

_CLOSE_SECONDS = 1

_TOLD_EVERY = 20
"""Of failures in a row the first is told, and every so many after it."""


class Pushing:
    """Runs *exporters* while it is started.

    Args:
        exporters: What tells whom.
        take: Answers what there is to tell now.
        deliveries: Where what was delivered is counted, by name of the exporter.
    """

    def __init__(
        self,
        exporters: Sequence[PushExporter],
        take: Callable[[], Awaitable[Snapshot]],
        deliveries: dict[str, DeliveryCounts],
    ) -> None:
        self._exporters = exporters
        self._take = take
        self._counts = {exporter.name: deliveries.setdefault(exporter.name, DeliveryCounts()) for exporter in exporters}
        self._tasks: list[asyncio.Task[None]] = []
        self._busy: set[str] = set()

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._push_for_ever(exporter)) for exporter in self._exporters]

    async def stop(self) -> None:
        """End, and give up connections; it may be started again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for exporter in self._exporters:
            try:
                await within(exporter.close(), _CLOSE_SECONDS)
            except Exception as error:  # noqa: BLE001 -- a client library's; the others are to be closed, too
                log.warning("exporter %s: close (%s): %s", exporter.name, reason_of(error), words_of(error))

    def forget(self) -> None:
        """Begin anew in a process that was forked."""
        self._tasks, self._busy = [], set()

    async def _push_for_ever(self, exporter: PushExporter) -> None:
        loop, period = asyncio.get_running_loop(), exporter.interval_seconds
        # A fleet that was started at one moment does not ask and send at one moment.
        due = loop.time() + random.random() * min(period, 1.0)  # noqa: S311 -- no secret
        failures = 0
        while True:
            await asyncio.sleep(due - loop.time())
            failures = 0 if await self._push(exporter, failures) else failures + 1
            due = max(due + period, loop.time())

    async def _push(self, exporter: PushExporter, failures: int) -> bool:
        """Return whether *exporter* has told what there is to tell, after *failures* in a row."""
        counts = self._counts[exporter.name]
        try:
            await within(self._take_and_push(exporter), min(_MOST_SECONDS, exporter.interval_seconds))
        except Exception as error:  # noqa: BLE001 -- whatever a client library raises, the next period is tried again
            counts.results["failed"] += 1
            counts.error = words_of(error)
            if failures % _TOLD_EVERY == 0:
                log.warning("exporter %s (%s): %s", exporter.name, reason_of(error), words_of(error))
            return False
        counts.results["sent"] += 1
        counts.error = None
        if failures:
            log.info("exporter %s: delivers again", exporter.name)
        return True

    async def _take_and_push(self, exporter: PushExporter) -> None:
        if exporter.name in self._busy:  # it lets itself not be cancelled; another one would hang as well
            raise DeliveryError("the push before this one has not returned")
        self._busy.add(exporter.name)
        try:
            await exporter.push(await self._take())
        finally:
            self._busy.discard(exporter.name)
