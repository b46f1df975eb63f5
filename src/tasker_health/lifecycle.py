"""What begins and ends with a process beside its monitor: the guard, gRPC, the service manager, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tasker_health.counters import Vitals
from tasker_health.deadline import leave_to_parent
from tasker_health.grpc.endpoint import GrpcEndpoint
from tasker_health.monitor import Monitor
from tasker_health.notification import Notification
from tasker_health.outward import Outward
from tasker_health.settings import Settings

if TYPE_CHECKING:
    from tasker_health.guarded import Guarded
    from tasker_health.web.endpoints import Endpoints


class Lifecycle:
    """Starts and stops what stands around a monitor, in the order in which each needs the others.

    Args:
        monitor: Answers the monitor; it is made at first use, when all checks have been added.
        endpoints: Answers who makes the reports that the guard may need; made at first use, too.
        outward: What is told to others unasked.
        grpc: Health over gRPC.
        settings: Whether there is a guard, and how long draining may take.
    """

    def __init__(
        self,
        monitor: Callable[[], Monitor],
        endpoints: Callable[[], Endpoints],
        outward: Outward,
        grpc: GrpcEndpoint,
        settings: Settings,
    ) -> None:
        self.settings: Settings = settings
        self._monitor = monitor
        self._endpoints = endpoints
        self._outward = outward
        self._grpc = grpc
        self._guarded: Guarded | None = None
        self._notification = Notification(settings.server.drain_seconds)

    async def start(self, *, thread: bool = False) -> None:
        """Start on the running event loop; see `Health.start`.

        Raises:
            ConfigurationError: The port of the guard or of gRPC cannot be had.
        """
        monitor = self._monitor()
        await monitor.start()
        self._notification.start(monitor.startup, monitor.ready, lambda: self._guarded is None or self._guarded.stands)
        self.open_guard(thread=thread)
        if self._guarded is not None:
            self._guarded.start()
        await self._grpc.start(monitor)
        self._outward.start()

    async def start_guard(self, *, thread: bool = False) -> None:
        """Start the guard and what it is told, and nothing else: for a worker, which answers nobody itself.

        Raises:
            ConfigurationError: Its port cannot be had.
        """
        await self._monitor().start()
        self.open_guard(thread=thread)
        if self._guarded is not None:
            self._guarded.start()

    @property
    def guarded(self) -> Guarded | None:
        """The guard's side of this process, while there is one."""
        return self._guarded

    async def stop(self) -> None:
        """End all of it, the monitor last."""
        await self._outward.stop()
        await self._notification.stop()
        await self._grpc.stop()
        guarded, self._guarded = self._guarded, None
        if guarded is not None:
            await guarded.stop()
        await self._monitor().stop()

    async def drain(self) -> None:
        """Say everywhere that this process takes no new traffic."""
        self._monitor().drain()
        self._grpc.drain()
        self._notification.drain()
        if self._guarded is not None:
            await self._guarded.drain()

    def hold(self, held: bool) -> None:
        """Tell the service manager that the application itself still starts, or has."""
        self._notification.hold(held)

    def open_guard(self, *, alone: bool = False, thread: bool = False) -> str:
        """Start the guard now and return its URL; empty where it is not enabled. See `Health.open_guard`.

        Raises:
            ConfigurationError: Its port cannot be had.
        """
        if not self.settings.guard.enabled:
            return ""
        if self._guarded is None:
            from tasker_health.guarded import Guarded

            self._guarded = Guarded(self.settings, self._endpoints().reports, alone=alone, thread=thread)
            monitor = self._monitor()
            monitor.lags = lambda: self._guarded is not None and self._guarded.heartbeat.lags
            monitor.vitals = lambda: self._guarded.vitals if self._guarded is not None else Vitals()
        self._guarded.open()
        return self._guarded.guard.url

    def forget(self) -> None:
        """Begin anew in a process that was forked: what runs is the parent's."""
        leave_to_parent(self._guarded)
        self._guarded = None
        self._grpc.forget()
        self._notification.forget()
        self._outward.forget()
        self._monitor().forget()
