"""Where probes go, how long they wait, and how long a stop takes: figures that agree with one another.

The rules: whoever asks waits longer than we may take to answer; a process that was told to stop serves for longer than
it takes to be found unready; who ends it for good waits for longer than that.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import Settings

DRAIN_MARGIN_SECONDS = 5
"""How much longer than it takes to be found unready a process serves, where the settings do not say."""

GRACE_MARGIN_SECONDS = 10
"""How long a process may take to end once it serves no more: what it closes has deadlines of its own of 5 s."""

WATCHDOG_MARGIN_SECONDS = 10
"""How much longer than a stall a service manager waits: it was fed up to 5 s before the stall began."""

LEAST_SCRAPE_TIMEOUT_SECONDS = 10
"""Prometheus' own."""

SCRAPE_MARGIN_SECONDS = 5
"""How much longer than a status may take Prometheus waits for the metrics, which are made of one."""

_LONGEST_LABEL = 63


@dataclass(frozen=True)
class Prober:
    """How somebody asks: the kubelet, a balancer, Docker.

    Attributes:
        initial_delay_seconds: From the start of the process to the first question.
        period_seconds: From one question to the next.
        timeout_seconds: How long it waits for an answer.
        failure_threshold: So many failures in a row count.
        success_threshold: So many successes in a row count.
    """

    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    failure_threshold: int = 3
    success_threshold: int = 1

    @property
    def seconds_until_out(self) -> float:
        """How long it takes at most to find out."""
        return self.period_seconds * self.failure_threshold


READINESS = Prober(initial_delay_seconds=10, period_seconds=5, timeout_seconds=3)
"""The guide's numbers for readiness."""

LIVENESS = Prober(initial_delay_seconds=30, period_seconds=10, timeout_seconds=1)
"""The guide's numbers for liveness."""

STARTUP = Prober(period_seconds=1, timeout_seconds=1, failure_threshold=60)
"""Who asks `/startup` and holds the others back: a start may take a minute, and is seen within a second of its end."""


@dataclass(frozen=True)
class Plan:
    """Of one service, what every target needs.

    Attributes:
        name: Of the service, fit for a DNS label (RFC 1123).
        prefix: Path above every endpoint, without a slash at its end.
        port: Where the endpoints are served: by `serve`, or by the application.
        guard_port: Where the guard answers; `None`: there is none.
        readiness_timeout_seconds: How long we may take to answer `/ready`.
        drain_seconds: How long requests are still answered after SIGTERM.
        pre_stop_seconds: How long the process is left alone before it is told to stop.
        readiness: Who asks `/ready`.
        liveness: Who asks `/live`.
        agent_port: Where the guard answers HAProxy's agent-check; `None`: nowhere.
        tls: Whether `port` speaks HTTPS. The guard's never does.
        stall_seconds: How old the last heartbeat of a process is that is wedged.
        scrape_timeout_seconds: How long Prometheus waits for the metrics.
    """

    name: str
    prefix: str
    port: int
    guard_port: int | None
    readiness_timeout_seconds: float
    drain_seconds: float
    pre_stop_seconds: float = 0
    readiness: Prober = READINESS
    liveness: Prober = LIVENESS
    agent_port: int | None = None
    tls: bool = False
    stall_seconds: float = 30
    scrape_timeout_seconds: int = LEAST_SCRAPE_TIMEOUT_SECONDS

    @property
    def probe_port(self) -> int:
        """Where probers ask: the guard, which answers when the application cannot."""
        return self.port if self.guard_port is None else self.guard_port

    @property
    def probe_scheme(self) -> str:
        """What is spoken where probers ask: `http` or `https`."""
        return "https" if self.tls and self.guard_port is None else "http"

    @property
    def live_path(self) -> str:
        """Path of the liveness endpoint."""
        return f"{self.prefix}/health/live"

    @property
    def ready_path(self) -> str:
        """Path of the readiness endpoint."""
        return f"{self.prefix}/health/ready"

    @property
    def startup_path(self) -> str:
        """Path of the startup endpoint."""
        return f"{self.prefix}/health/startup"

    @property
    def metrics_path(self) -> str:
        """Path of the metrics for Prometheus."""
        return f"{self.prefix}/metrics"

    @property
    def grace_seconds(self) -> int:
        """How long whoever stops the process waits before killing it."""
        return math.ceil(self.pre_stop_seconds + self.drain_seconds) + GRACE_MARGIN_SECONDS

    @property
    def watchdog_seconds(self) -> int:
        """How long a service manager that is fed waits: the guard has told by then where a wedged process stands."""
        return math.ceil(self.stall_seconds) + WATCHDOG_MARGIN_SECONDS


def plan_of(settings: Settings, *, readiness: Prober = READINESS, liveness: Prober = LIVENESS) -> Plan:
    """Return the plan of a service with *settings*, asked by *readiness* and *liveness*.

    A drain that the settings do not name is made long enough; the target has to hand it to the service.

    Raises:
        ConfigurationError: Its figures contradict one another, or its service has no name for DNS.
    """
    server, health = settings.server, settings.health
    drain_seconds = server.drain_seconds
    if "drain_seconds" not in server.model_fields_set:
        drain_seconds = max(drain_seconds, math.ceil(readiness.seconds_until_out) + DRAIN_MARGIN_SECONDS)
    guard_port, agent_port = _guard_ports(settings)
    return _agreed(
        Plan(
            name=_label(health.service_name),
            prefix=server.prefix,
            port=server.port,
            guard_port=guard_port,
            readiness_timeout_seconds=health.readiness_timeout_seconds,
            drain_seconds=drain_seconds,
            readiness=readiness,
            liveness=liveness,
            agent_port=agent_port,
            tls=server.tls_certificate_file is not None,
            stall_seconds=health.liveness_stall_seconds,
            scrape_timeout_seconds=max(
                LEAST_SCRAPE_TIMEOUT_SECONDS, math.ceil(health.status_timeout_seconds) + SCRAPE_MARGIN_SECONDS
            ),
        )
    )


def _guard_ports(settings: Settings) -> tuple[int | None, int | None]:
    """Return the guard's port and that of its agent, all of them numbered and none taken twice."""
    server, guard = settings.server, settings.guard
    if not server.port:
        raise SettingsError("server.port", "0", "a deployment needs the number of a port")
    taken = {server.port} | (set() if guard.enabled is False else {guard.port, guard.agent_port})
    if settings.grpc.enabled and settings.grpc.port in taken:
        raise SettingsError(
            "grpc.port", str(settings.grpc.port), "another port than server.port, guard.port and guard.agent_port"
        )
    if guard.enabled is False:
        return None, None
    if guard.port == 0:
        raise SettingsError("guard.port", "0", "a deployment needs the number of a port")
    if guard.port == server.port:
        raise SettingsError("guard.port", str(guard.port), "another port than server.port")
    if guard.agent_port in {server.port, guard.port}:
        raise SettingsError("guard.agent_port", str(guard.agent_port), "another port than server.port and guard.port")
    return guard.port, guard.agent_port


def _agreed(plan: Plan) -> Plan:
    """Return *plan* if its figures agree."""
    ready = plan.readiness
    if ready.timeout_seconds <= plan.readiness_timeout_seconds:
        raise ConfigurationError(
            f"health.readiness_timeout_seconds = {plan.readiness_timeout_seconds:g}: less than the"
            f" {ready.timeout_seconds:g} s for which the prober waits"
        )
    if plan.drain_seconds <= ready.seconds_until_out:
        raise ConfigurationError(
            f"server.drain_seconds = {plan.drain_seconds:g}: more than {ready.seconds_until_out:g}, the prober's period"
            f" of {ready.period_seconds:g} s times {ready.failure_threshold} failures"
        )
    for name, prober in (("readiness", ready), ("liveness", plan.liveness)):
        if prober.timeout_seconds > prober.period_seconds:
            raise ConfigurationError(
                f"{name} timeout of {prober.timeout_seconds:g} s: at most its period of {prober.period_seconds:g} s"
            )
    return plan


def _label(service_name: str) -> str:
    """Return *service_name* as a DNS label."""
    label = re.sub(r"[^a-z0-9]+", "-", service_name.lower()).strip("-")[:_LONGEST_LABEL].strip("-")
    if not label or not label[0].isalpha():  # a Service begins with a letter (RFC 1035)
        raise SettingsError(
            "health.service_name", repr(service_name), "begins with a letter of a-z, to be named in DNS"
        )
    return label
