"""Do the figures of a probe agree with those of the service?"""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.inspection.asked import OF_THE_KUBELET, Asked
from tasker_health.deploy.inspection.commands import patience_seconds
from tasker_health.deploy.inspection.facts import Means, Role
from tasker_health.deploy.inspection.faults import Fault

SLOW_SECONDS = 60
"""An unready process that gets requests for longer than this is told of."""


def judge_patience(asked: Asked) -> Iterator[Fault]:
    """Yield what is wrong with how long it waits."""
    probe, deadline = asked.probe, asked.service.deadline_seconds
    patience = patience_seconds(probe)
    place = probe.place_of("timeout_seconds")
    if asked.endpoint == "ready" and probe.means is not Means.TCP and patience <= deadline:
        remedy = f"wait longer than health.readiness_timeout_seconds = {deadline:g}, or lower that"
        yield asked.fault("timeout-deadline", f"{patience:g} s", remedy, of="timeout", at=place)
    figures = probe.figures
    if probe.role in OF_THE_KUBELET and figures.timeout_seconds > figures.period_seconds:
        remedy = f"at most the period of {figures.period_seconds:g} s, or every failure is noticed late"
        yield asked.fault("timeout-period", f"{figures.timeout_seconds:g} s", remedy, of="timeout", at=place)


def judge_liveness(asked: Asked) -> Iterator[Fault]:
    """Yield what restarts a process that is well."""
    probe, figures = asked.probe, asked.probe.figures
    if probe.role is not Role.LIVENESS:
        return
    container = asked.container
    has_startup = container is not None and any(each.role is Role.STARTUP for each in container.probes)
    delay = figures.initial_delay_seconds
    if not has_startup and not delay:
        remedy = f"a slow start is restarted for ever; add a startupProbe that asks {asked.service.path('startup')}"
        yield asked.fault("startup-missing", "no startupProbe, no initialDelaySeconds", remedy)
    if has_startup and delay:
        remedy = "the startup probe holds it back already; leave the delay out, or a wedged start is seen late"
        place = probe.place_of("initial_delay_seconds")
        yield asked.fault("liveness-delay", f"{delay:g} s", remedy, of="initialDelaySeconds", at=place)
    place = probe.place_of("failure_threshold")
    seconds, stall = figures.seconds_until_out, asked.service.stall_seconds
    if figures.failure_threshold == 1:
        remedy = "one answer that is lost restarts the process; write 3"
        yield asked.fault("liveness-hasty", "1", remedy, of="failureThreshold", at=place)
    elif not asked.asks_guard and probe.means is not Means.TCP and seconds < stall:
        remedy = (
            f"the application itself is asked, and a loop that is busy for {seconds:g} s restarts it, less than"
            f" health.liveness_stall_seconds = {stall:g}; ask the guard at port {asked.service.guard_port}"
        )
        value = f"{figures.period_seconds:g} s x {figures.failure_threshold}"
        yield asked.fault("liveness-hasty", value, remedy, of="periodSeconds", at=place)


def judge_readiness(asked: Asked) -> Iterator[Fault]:
    """Yield what keeps an unready process in, and a draining one unnoticed."""
    probe, figures, service = asked.probe, asked.probe.figures, asked.service
    if probe.role not in {Role.READINESS, Role.BALANCER}:
        return
    seconds = figures.seconds_until_out
    value = f"{figures.period_seconds:g} s x {figures.failure_threshold}"
    place = probe.place_of("period_seconds")
    if seconds > SLOW_SECONDS:
        remedy = f"an unready process gets requests for {seconds:g} s; write 5 s x 3"
        yield asked.fault("readiness-slow", value, remedy, of="period", at=place)
    container, workload = asked.container, asked.workload
    pre_stop = (container.pre_stop_seconds or 0) if container is not None else 0
    serves = workload is None or workload.serves
    if serves and service.drain_seconds and service.drain_seconds + pre_stop <= seconds:
        remedy = (
            f"server.drain_seconds = {service.drain_seconds:g} is over before it is found unready; more than"
            f" {seconds:g} (TASKER_SERVER__DRAIN_SECONDS), or ask more often"
        )
        yield asked.fault("drain-short", value, remedy, of="period", at=place)
