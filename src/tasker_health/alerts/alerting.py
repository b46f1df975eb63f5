"""Looks at the rules in its period while it is started, and sees to it that whoever is to be told is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tasker_health.alerts import Channel
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.counters import DeliveryCounts
from tasker_health.exporters import Snapshot
from tasker_health.settings import Settings


class Alerting:
    """The alerts of one process of a fleet.

    Args:
        settings: Which rules there are, and how slowly incidents begin and end.
        channels: Who is told.
        shared: Where the fleet keeps what is open and what waits.
        take: Answers what there is to tell now.
        deliveries: Where what was delivered is counted, by name of the channel.
        clock: What time it is.
    """

    def __init__(
        self,
        settings: Settings,
        channels: Sequence[Channel],
        shared: SharedCache,
        take: Callable[[], Awaitable[Snapshot]],
        deliveries: dict[str, DeliveryCounts],
        clock: Clock,
    ) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""

    async def stop(self) -> None:
        """End: what still waits, waits in the ledger. It may be started again."""

    def forget(self) -> None:
        """Begin anew in a process that was forked."""
