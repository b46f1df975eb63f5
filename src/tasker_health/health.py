"""`Health`: settings put together into something that answers. The one class that most users need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tasker_health.access import Authenticator
from tasker_health.access.gate import Gate
from tasker_health.cache import Cache
from tasker_health.cache.chosen import chosen_cache, shared_cache
from tasker_health.checks.configuration import ConfigurationCheck
from tasker_health.clock import Clock, SystemClock
from tasker_health.counters import DeliveryCounts
from tasker_health.errors import ConfigurationError
from tasker_health.exporters import ProcessSnapshot, Snapshot, own_snapshot, take_snapshot
from tasker_health.extras import needed
from tasker_health.grpc.endpoint import GrpcEndpoint
from tasker_health.lifecycle import Lifecycle
from tasker_health.loading import load_settings
from tasker_health.model import Liveness, Readiness, Startup, StatusReport
from tasker_health.monitor import Monitor
from tasker_health.registry import Registry
from tasker_health.settings import Settings
from tasker_health.termination import Termination

if TYPE_CHECKING:
    from tasker_health.bridge import Bridge
    from tasker_health.database import Database
    from tasker_health.web.asgi import App, AsgiSkin
    from tasker_health.web.background import Background
    from tasker_health.web.endpoints import Endpoints
    from tasker_health.web.wsgi import App as WsgiApp
    from tasker_health.web.wsgi import WsgiSkin
    from tasker_health.working import WorkerHandle


class Health(Registry):
    """The health of one service.

    Build it, add checks, hand it to your application:

        health = Health()

        @health.check("payment_api", critical=False)
        async def payment_api() -> None:
            await client.get("/ping")

        app = health.asgi(app)

    Args:
        settings: The settings; `None` reads the environment. See `load_settings`.
        authenticator: Tells who asks, in place of `auth.authenticator_class`.
        coordinator_class: Decides who may, in place of `auth.authorization_coordinator_class`.
        cache: Where the fleet keeps its facts, in place of `cache.url`.
        clock: What time it is; tests pass their own.

    Attributes:
        settings: The settings in force.
        grpc: Health over gRPC, where `grpc.enabled` says so.

    Raises:
        ConfigurationError: The settings cannot work; the message names the setting and the remedy.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        authenticator: Authenticator | None = None,
        coordinator_class: type[Any] | None = None,
        cache: Cache | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.settings: Settings = load_settings() if settings is None else settings
        self._clock: Clock = clock or SystemClock()
        self._gate = Gate(self.settings, authenticator=authenticator, coordinator_class=coordinator_class)
        self._databases: list[Database] = []
        self._monitor: Monitor | None = None
        self._endpoints: Endpoints | None = None
        self.grpc: GrpcEndpoint = GrpcEndpoint(self.settings)
        self._bridge: Bridge | None = None
        self._background: Background | None = None
        with needed():
            self._add_built_in(cache)

    def wait_for(self, name: str) -> Callable[[], None]:
        """Declare that startup is not over before the returned function is called."""
        self.monitor.wait_for(name)
        return lambda: self.monitor.done(name)

    async def live(self) -> Liveness:
        """Return whether this process should be left running."""
        return self.monitor.live()

    async def ready(self, name: str | None = None) -> Readiness:
        """Return whether this process should get traffic now: from all checks, or from the one called *name*.

        Raises:
            KeyError: There is no check called *name*.
        """
        return await self.monitor.ready(name)

    async def startup(self) -> Startup:
        """Return whether this process has finished starting."""
        return self.monitor.startup()

    async def status(self, user: Any = None) -> StatusReport:
        """Return how the whole system is, for *user*.

        Raises:
            AuthenticationError: Somebody known has to ask, and *user* is `None`.
            UnauthorizedError: *user* may not read the status.
        """
        await self._gate.authorize(user)
        report = await self.monitor.status()
        return self.monitor.detailed(report) if await self._gate.may_see_detail(user) else report

    async def start(self, *, thread: bool = False) -> None:
        """Start on the running event loop, with the guard and gRPC where `guard.enabled` and `grpc.enabled` say so.

        Without either it is optional: the first question starts what it needs. A service manager such as systemd, where
        it wants to be told, is told from here on.

        Args:
            thread: The event loop is that of a thread beside an application that has none.

        Raises:
            ConfigurationError: The port of the guard or of gRPC cannot be had.
        """
        await self._lifecycle.start(thread=thread)

    async def stop(self) -> None:
        """Close every connection, end gRPC and the guard; the next question starts again."""
        await self._lifecycle.stop()

    async def drain(self) -> None:
        """Be not ready from now on (`draining`), while everything else goes on."""
        await self._lifecycle.drain()

    def open_guard(self, *, alone: bool = False, thread: bool = False) -> str:
        """Start the guard now, before slow start-up work, and return its URL; empty where it is not enabled.

        Args:
            alone: This process shares its guard with no sibling, as a server of its own does.
            thread: See `start`.

        Raises:
            ConfigurationError: Its port cannot be had.
        """
        return self._lifecycle.open_guard(alone=alone, thread=thread)

    def asgi(self, app: App | None = None) -> AsgiSkin:
        """Return *app* with the health endpoints before it; without an application, the endpoints alone.

        Wrap the outermost callable, so that no middleware stands before a probe.
        """
        from tasker_health.web.asgi import AsgiSkin

        return AsgiSkin(
            self.endpoints,
            app,
            start=self.start,
            stop=self.stop,
            drain=self.drain,
            termination=Termination.of(self.settings),
            hold=self._lifecycle.hold,
        )

    def wsgi(self, app: WsgiApp | None = None) -> WsgiSkin:
        """Return *app*, a WSGI callable, with the health endpoints before it, for servers without an event loop.

        Raises:
            SettingsError: A caller has a certificate that cannot be told for sure behind WSGI.
        """
        from tasker_health.bridge import Bridge
        from tasker_health.web.wsgi import WsgiSkin

        if self._bridge is None:
            start = partial(self.start, thread=True)
            self._bridge = Bridge(
                start=start, stop=self.stop, drain=self.drain, forked=self._lifecycle.forget, settings=self.settings
            )
        return WsgiSkin(self.endpoints, app, self._bridge, self.settings)

    def serve_in_background(self) -> Background:
        """Answer at `server.port`, with a guard at `guard.port`, beside whatever this process does; return at once.

        For a worker or a script that serves no HTTP. Where an event loop runs it is served on that, so that liveness is
        the worker's own; elsewhere on one in a thread. It ends with the process, or with `stop` of what is returned.

        Raises:
            ConfigurationError: A port cannot be had, a certificate is none, or uvicorn is not installed.
        """
        if self._background is None or not self._background.is_serving:
            try:
                from tasker_health.web.background import serve_in_background
            except ModuleNotFoundError as error:
                remedy = f"{error.name} is not installed; pip install 'tasker-health[server]'"
                raise ConfigurationError(f"serve_in_background: {remedy}") from None
            self.settings = self._lifecycle.settings = self.settings.guarded_by_default()
            self.grpc.claim()
            self._background = serve_in_background(
                self.endpoints,
                self.settings.server,
                start=self.start,
                stop=self.stop,
                drain=self.drain,
                open_guard=self.open_guard,
                forked=self._lifecycle.forget,
            )
        return self._background

    def worker(
        self,
        it: Any = None,
        *,
        name: str | None = None,
        queues: Sequence[str] | None = None,
        version: str | None = None,
        waiting: Callable[[], int | None] | None = None,
    ) -> WorkerHandle:
        """Have a worker of this process beat, and give it a guard, from when it begins until it ends.

        Args:
            it: The engine's: a Celery app, a Procrastinate app, ...; `None`: a loop of your own, which begins now.
            name: Of the worker, before host and process; unset: the engine's.
            queues: Which it takes work from; unset: as the engine tells.
            version: Of the application that it runs.
            waiting: Answers, in a thread of ours, how much work it could take now; unset: as the engine tells.

        Raises:
            ConfigurationError: It is of no engine that is known, or the ledger cannot be one.
        """
        from tasker_health.workers.beating import Said
        from tasker_health.working import settings_of_worker, working

        self.settings = self._lifecycle.settings = settings_of_worker(self.settings)
        said = Said(name, None if queues is None else tuple(queues), version)
        return working(self.settings, it, said, waiting, self._lifecycle, lambda: self.monitor, self._clock)

    @property
    def endpoints(self) -> Endpoints:
        """Who decides about requests, for a skin of one's own."""
        if self._endpoints is None:
            from tasker_health.web.logged import endpoints_of
            from tasker_health.web.metrics import Metrics

            metrics = None if self._exporter is None else Metrics(self._snapshot_of_all, self._gate, self._exporter)
            history = self._outward.history
            self._endpoints = endpoints_of(self.settings)(
                self.monitor, self._gate, self.settings.server.prefix, metrics, history
            )
        return self._endpoints

    @property
    def monitor(self) -> Monitor:
        """The heart, made at first use; checks and sources are added before."""
        if self._monitor is None:
            self._is_open = False
            self._monitor = Monitor(
                self.settings.health,
                checks=list(self._checks.values()),
                sources=list(self._sources.values()),
                shared=self._shared,
                databases=self._databases,
                clock=self._clock,
                objectives=self._objectives,
                roster=self._roster,
            )
            self._outward.follow(self._monitor)
        return self._monitor

    async def _snapshot(self) -> Snapshot:
        return await take_snapshot(self.monitor, self._gate.counts, self._deliveries)

    async def _snapshot_of_all(self) -> Snapshot:
        snapshot = await self._snapshot()
        return snapshot if self._siblings is None else replace(snapshot, together=await self._siblings.combined())

    def _own_snapshot(self) -> ProcessSnapshot:
        return own_snapshot(self.monitor, self._gate.counts, self._deliveries)

    def _add_built_in(self, cache: Cache | None) -> None:
        from tasker_health.assembly import built_in_checks, cache_checks
        from tasker_health.exporters.chosen import metrics_exporter
        from tasker_health.exporters.siblings import siblings_of
        from tasker_health.outward import Outward
        from tasker_health.slo.objectives import Objectives
        from tasker_health.sources.chosen import built_in_sources
        from tasker_health.workers.chosen import chosen_roster

        self._shared = shared_cache(self.settings, cache or chosen_cache(self.settings, self._clock), self._clock)
        for check in built_in_checks(self.settings, self._databases):
            self.add_check(check)
        self.configuration: ConfigurationCheck = ConfigurationCheck([self._gate.problems])
        self.add_check(self.configuration)
        for check in cache_checks(self.settings, self._shared, self._clock):
            self.add_check(check)
        self._roster = chosen_roster(self.settings, self._clock)
        for source in built_in_sources(self.settings, self._roster):
            self.add_source(source)
        self._exporter = metrics_exporter(self.settings)
        self._objectives = Objectives(self.settings.slos)
        self._deliveries: dict[str, DeliveryCounts] = {}
        self._siblings = siblings_of(self.settings, self._own_snapshot) if self._exporter is not None else None
        monitor = lambda: self.monitor  # noqa: E731 -- made at first use
        self._outward = Outward(
            self.settings,
            self._shared,
            self._snapshot,
            monitor,
            self._deliveries,
            self._clock,
            siblings=self._siblings,
            objectives=self._objectives,
        )
        self._lifecycle = Lifecycle(monitor, lambda: self.endpoints, self._outward, self.grpc, self.settings)
