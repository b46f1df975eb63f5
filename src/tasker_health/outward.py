"""What a process does unasked while it is started: exporters that push, alerts, and remembering the last hour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.counters import DeliveryCounts
from tasker_health.exporters import Snapshot
from tasker_health.exporters.chosen import push_exporters
from tasker_health.exporters.pushing import Pushing
from tasker_health.exporters.siblings import Siblings
from tasker_health.history import History
from tasker_health.history.recorder import Recorder
from tasker_health.monitor import Monitor
from tasker_health.quorum import Quorum
from tasker_health.settings import Settings
from tasker_health.slo.fleet import ObjectivesFleet
from tasker_health.slo.objectives import Objectives

if TYPE_CHECKING:
    from tasker_health.alerts.alerting import Alerting


class Outward:
    """Exporters that push, alerts, and the history, where the settings ask for them.

    Args:
        settings: Who is told what.
        shared: Where a fleet keeps what it knows together.
        take: Answers what there is to tell now.
        monitor: Answers the monitor; it is made at first use.
        deliveries: Where what was delivered is counted, by name of the exporter or channel.
        clock: What time it is.
        siblings: Other processes behind the same port, which are told what this one has counted.
        objectives: What the fleet remembers of how much work has failed.

    Attributes:
        history: Answers how the last hour was; `None`: nobody remembers.

    Raises:
        ConfigurationError: A client library is not installed, or an address is none.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedCache,
        take: Callable[[], Awaitable[Snapshot]],
        monitor: Callable[[], Monitor],
        deliveries: dict[str, DeliveryCounts],
        clock: Clock,
        siblings: Siblings | None = None,
        objectives: Objectives | None = None,
    ) -> None:
        self._parts: list[Recorder | Pushing | Alerting | Siblings | ObjectivesFleet | Quorum] = []
        self._recorder = Recorder(settings, shared, monitor, clock) if settings.history.enabled else None
        self.history: Callable[[], History] | None = None
        if self._recorder is not None:
            self.history = self._recorder.history
            self._parts.append(self._recorder)
        if objectives is not None and objectives.all:
            self._parts.append(ObjectivesFleet(objectives, shared, clock))
        self._quorum = Quorum(settings, shared, clock) if settings.health.readiness_quorum is not None else None
        if self._quorum is not None:
            self._parts.append(self._quorum)
        exporters = push_exporters(settings)
        if exporters:
            self._parts.append(Pushing(exporters, take, deliveries))
        if settings.alerts.are_wanted:
            from tasker_health.alerts.alerting import Alerting
            from tasker_health.alerts.channels.chosen import chosen_channels

            self._parts.append(Alerting(settings, chosen_channels(settings), shared, take, deliveries, clock))
        if siblings is not None:
            self._parts.append(siblings)  # the last one, so that what the others count at their end is told, too

    def follow(self, monitor: Monitor) -> None:
        """Remember from now on what *monitor* answers, where anybody remembers, and have it heed the others."""
        if self._quorum is not None:
            monitor.agree = self._quorum.agree
        if self._recorder is not None:
            self._recorder.follow(monitor)

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""
        for part in self._parts:
            part.start()

    async def stop(self) -> None:
        """End all of it; it may be started again."""
        for part in self._parts:
            await part.stop()

    def forget(self) -> None:
        """Begin anew in a process that was forked."""
        for part in self._parts:
            part.forget()
