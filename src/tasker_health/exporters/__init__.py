"""The room of exporters: what the status says, and what this process has counted, told to a monitoring system.

The rules for whoever writes one:

* It is handed a `Snapshot` and asks nothing itself: an exporter must not cost what it reports about.
* A figure that is `None` is left out, never told as 0.
* Labels come from closed lists and from the settings (states, reasons, checks, sources): never from a caller, never
  from the text of an error. So their number is bounded and nothing secret leaves.
* It never holds the event loop for long: what takes more than a millisecond or two goes on after others had their turn.
* The figures of the status are the fleet's, the counts are this process' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from tasker_health.counters import AccessCounts, Counters, DeliveryCounts, Vitals
from tasker_health.exporters.instrument import Instrument
from tasker_health.model import Readiness, StatusReport
from tasker_health.monitor import Monitor
from tasker_health.settings import PrometheusSettings

_WORTH_TELLING_SECONDS = 60
"""Age beyond which the latest readiness of a process that nobody asks says nothing about it."""


class ProcessSnapshot(Struct, frozen=True, kw_only=True):
    """What one process knows of itself, without asking anybody.

    Attributes:
        service: The name of the service.
        readiness: The latest answer of the endpoint; `None`: there is none that is worth telling.
        started: Whether it has finished starting.
        counters, access: What this process has counted.
        held_checks: How many checks still run beyond their deadline.
        deliveries: What exporters and channels that send have counted, by name.
        vitals: What the heartbeat and the guard of this process tell.
    """

    service: str
    readiness: Readiness | None
    started: bool
    counters: Counters
    access: AccessCounts
    held_checks: int
    vitals: Vitals
    deliveries: Mapping[str, DeliveryCounts] = {}


class Snapshot(ProcessSnapshot, frozen=True, kw_only=True):
    """What there is to tell at one moment.

    Attributes:
        status, readiness: The answers of the two endpoints now.
        together: What all processes behind one port have counted; `None`: this process tells of itself alone.
    """

    status: StatusReport
    readiness: Readiness
    together: Together | None = None


class Together(Protocol):
    """Puts the figures of several processes in place of those of one."""

    def __call__(self, told: Instrument) -> Instrument:
        """Return *told*, or a piece of it, for all of them."""


class PullExporter(Protocol):
    """Answers a monitoring system that asks.

    Attributes:
        settings: Who may ask.
    """

    settings: PrometheusSettings

    async def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """Return *snapshot* in the format that *accept*, the header's value, asks for, and its content type."""


class PushExporter(Protocol):
    """Tells a monitoring system unasked.

    Attributes:
        name: Of the exporter, as its settings have it.
        interval_seconds: Period of telling.
    """

    name: str
    interval_seconds: float

    async def push(self, snapshot: Snapshot) -> None:
        """Tell *snapshot*. It may be cancelled, and whoever is told may hang: no thread is left behind for each push.

        Raises:
            DeliveryError: It was not taken.
        """

    async def close(self) -> None:
        """Give up connections and threads; the next `push` opens new ones. Raises nothing."""


async def take_snapshot(
    monitor: Monitor, access: AccessCounts, deliveries: Mapping[str, DeliveryCounts] | None = None
) -> Snapshot:
    """Return what there is to tell now: the answers that any other asker would get at this moment."""
    status, readiness = await asyncio.gather(monitor.status(), monitor.ready())
    return Snapshot(status=status, readiness=readiness, **_of_process(monitor, access, deliveries or {}))


def own_snapshot(monitor: Monitor, access: AccessCounts, deliveries: Mapping[str, DeliveryCounts]) -> ProcessSnapshot:
    """Return what this process knows of itself now; no check is run for it."""
    readiness = monitor.kept_readiness.value
    now = monitor.clock.now()
    if readiness is not None and now - readiness.timestamp.timestamp() > _WORTH_TELLING_SECONDS:
        readiness = None
    if readiness is not None and monitor.draining:
        readiness = replace(readiness, ready=False)
    return ProcessSnapshot(readiness=readiness, **_of_process(monitor, access, deliveries))


def _of_process(monitor: Monitor, access: AccessCounts, deliveries: Mapping[str, DeliveryCounts]) -> dict[str, Any]:
    return {
        "service": monitor.service_name,
        "started": monitor.startup().started,
        "counters": monitor.counters,
        "access": access,
        "held_checks": monitor.held_checks,
        "vitals": monitor.vitals(),
        "deliveries": deliveries,
    }
