"""The exporter `opentelemetry`: instruments for a receiver of OTLP, or for the application's own meter provider."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from functools import partial
from typing import Any

from tasker_health.counters import DurationCounts
from tasker_health.deadline import in_thread, retrieve, within
from tasker_health.errors import DeliveryError
from tasker_health.exporters import Snapshot
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.meters import Meters, application_provider
from tasker_health.exporters.otlp import THREAD, Receiver, unusable_environment
from tasker_health.exporters.otlp_data import Period, frozen
from tasker_health.exporters.table import one_by_one
from tasker_health.settings import OpenTelemetrySettings

_POINTS = 500
"""After so many others have a turn on the event loop."""

_MOST_RUNS = 10_000
"""How many runs of one thing wait to be recorded; they are recorded each period."""

_MOST_SECONDS = 10
"""So long whoever calls waits, a shorter period bounds it, too."""

_SHARE = 0.9
"""Of that, how much the receiver gets: what went wrong is to be told, not only that it took too long."""

_END_SECONDS = 0.5
"""How long a thread whose line was cut is waited for."""

_LONGEST_LEAVE_SECONDS = 3600
"""How long a receiver is left alone at most, whatever it asks for."""


class OpenTelemetryExporter:
    """Tells snapshots by OpenTelemetry, from a thread of ours. See `PushExporter`.

    A thread of the SDK's is not needed, nor its handlers at exit and at a fork.

    Args:
        settings: To whom.
        service: The name of the service.
    """

    name = "opentelemetry"

    def __init__(self, settings: OpenTelemetrySettings, service: str) -> None:
        self.interval_seconds: float = settings.interval_seconds
        self._settings = settings
        self._service = service
        self._timeout_seconds = min(settings.timeout_seconds, _SHARE * min(settings.interval_seconds, _MOST_SECONDS))
        self._meters = Meters(settings.interval_seconds)
        self._telling: asyncio.Future[None] | None = None
        self._begin_anew()

    async def push(self, snapshot: Snapshot) -> None:
        """Tell *snapshot*.

        Raises:
            DeliveryError: It was not taken.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        told = await _instruments(snapshot)
        provider = None if self._settings.endpoint else application_provider()
        if provider is None:
            await self._send(frozen(told))
        else:
            await self._observe(provider, told)

    async def close(self) -> None:
        """Give up the receiver; the next `push` begins again. What is under way ends at once, and closes its line."""
        self._meters.forget()
        self._give_up()
        telling = self._telling
        self._telling = None
        if telling is not None and not telling.done() and telling.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({telling}, timeout=_END_SECONDS)

    def _begin_anew(self) -> None:
        """Know nothing of a receiver: in a forked child, that of the parent is not ours to close."""
        self._pid = os.getpid()
        self._began = time.time_ns()
        self._receiver: Receiver | None = None
        self._leave_until = 0.0
        self._telling = None
        self._observing: asyncio.Future[Any] | None = None

    async def _send(self, told: list[Instrument]) -> None:
        loop = asyncio.get_running_loop()
        wait = self._leave_until - loop.time()
        if wait > 0:
            raise DeliveryError(f"the receiver wants to be left alone for {wait:.0f} s more", after_seconds=wait)
        problem = "" if self._settings.endpoint else unusable_environment()
        if problem:
            raise DeliveryError(problem, again=False)
        try:
            if self._receiver is None:
                self._receiver = await in_thread(
                    partial(Receiver, self._settings, self._service, self._timeout_seconds), THREAD
                )
            telling = in_thread(partial(self._receiver.tell, told, Period(self._began, time.time_ns())), THREAD)
            telling.add_done_callback(retrieve)
            self._telling = telling
            await within(asyncio.shield(telling), self._timeout_seconds)
        except DeliveryError as error:
            self._leave_until = loop.time() + min(error.after_seconds or 0.0, _LONGEST_LEAVE_SECONDS)
            raise
        except TimeoutError as error:
            known = self._give_up()
            raise known or DeliveryError(f"no answer within {self._timeout_seconds:g} s") from error
        except BaseException:  # cancelled as well: whatever the thread waits for is to end
            self._give_up()
            raise

    async def _observe(self, provider: Any, told: list[Instrument]) -> None:
        if self._observing is not None and not self._observing.done():
            raise DeliveryError("the meter provider has not returned from the last time")
        runs = {(each.name, value): _queue(counts) for each in told for value, counts in each.histograms.items()}
        self._observing = in_thread(partial(self._meters.tell, provider, told, runs), THREAD)
        await asyncio.shield(self._observing)

    def _give_up(self) -> DeliveryError | None:
        receiver, self._receiver = self._receiver, None
        return None if receiver is None else receiver.give_up()


async def _instruments(snapshot: Snapshot) -> list[Instrument]:
    told, points = [], 0
    for each in one_by_one(snapshot, guide_names=False):  # the guide knows no OpenTelemetry
        told.append(each)
        points += len(each.points)
        if points >= _POINTS:
            await asyncio.sleep(points := 0)
    return told


def _queue(counts: DurationCounts) -> deque[float]:
    """Return where *counts* puts each run from now on."""
    if counts.recent is None:
        counts.recent = deque(maxlen=_MOST_RUNS)
    return counts.recent
