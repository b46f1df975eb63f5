"""Is a process stopped, started again and told its secrets as it should be?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasker_health.deploy.inspection.facts import Container, Role, Workload, Written
from tasker_health.deploy.inspection.faults import Fault, shown
from tasker_health.deploy.inspection.service import Service, is_loopback

_TERMINATES = {"SIGTERM", "TERM", "15"}
_PASSWORD = re.compile(r"://[^/\s:@]*:(?!\$)[^/\s@]+@|[?&;]password=(?!\$)[^&\s]", re.IGNORECASE)
_NAMES = re.compile(r"(?:^|_)(?:password|signing_key|secret|secret_key|token|api_key|routing_key)$", re.IGNORECASE)
_OUTSIDE_KUBERNETES = {"service", "image", "unit"}


def judge_stop(workload: Workload, container: Container, service: Service) -> Iterator[Fault]:
    """Yield what a stop loses."""
    name = shown(container.name)
    pre_stop = container.pre_stop_seconds
    drain = service.drain_seconds + (pre_stop or 0)
    if workload.kind != "image" and workload.serves and not service.drain_seconds and pre_stop is None:
        written = container.environment.get("TASKER_SERVER__DRAIN_SECONDS")
        remedy = "requests that are on their way are refused; set TASKER_SERVER__DRAIN_SECONDS"
        if workload.kind not in _OUTSIDE_KUBERNETES:
            remedy += ", or a preStop that sleeps where the server cannot be drained"
        place = written.place if written else container.place
        yield Fault(place, "drain-missing", f"{name} server.drain_seconds", "0", remedy)
    if workload.grace_seconds is not None and workload.serves and 0 < drain >= workload.grace_seconds:
        remedy = f"longer than the drain of {service.drain_seconds:g} s"
        remedy += f" and the preStop of {pre_stop:g} s" if pre_stop else ""
        remedy += f", such as {drain + 10:g}; what is under way then is killed"
        yield Fault(
            workload.grace_place or workload.place,
            "grace-short",
            f"{shown(workload.name)} {workload.grace_thing}",
            f"{workload.grace_seconds:g} s",
            remedy,
        )
    signal = container.stop_signal
    if signal is not None and (signal.value or "").upper() not in _TERMINATES:
        remedy = "only SIGTERM has it drain; leave it out"
        yield Fault(signal.place, "stop-signal", f"{name} stop signal", shown(signal.value or ""), remedy)
    if container.shell_form is not None:
        program = (container.shell_form.value or "").partition(" ")[0]  # what follows may hold a secret
        remedy = 'the shell gets SIGTERM and hands it on to nobody; write it as ["program", "argument"]'
        yield Fault(
            container.shell_form.place, "shell-form", f"{name} command", f"{shown(program)} ... in a shell", remedy
        )


def judge_start(workload: Workload, service: Service) -> Iterator[Fault]:
    """Yield what is missing for a start, and for the next one."""
    roles = {probe.role for container in workload.containers for probe in container.probes}
    if workload.kind not in _OUTSIDE_KUBERNETES and workload.serves and Role.READINESS not in roles:
        remedy = f"requests come before it can serve; ask {service.path('ready')} at port {service.probe_port}"
        thing = f"{shown(workload.kind)} {shown(workload.name)}"
        yield Fault(workload.place, "readiness-missing", thing, "no readinessProbe", remedy)
    supervision = workload.supervision
    if supervision is None or supervision.watchdog is None or not supervision.watchdog_seconds:
        return
    name = shown(workload.name)
    if supervision.watchdog_seconds <= service.stall_seconds:
        remedy = f"longer than health.liveness_stall_seconds = {service.stall_seconds:g}"
        value = f"{supervision.watchdog_seconds:g} s"
        yield Fault(supervision.watchdog.place, "watchdog-short", f"{name} WatchdogSec", value, remedy)
    if supervision.restart is None or supervision.restart.value == "no":
        place = (supervision.restart or supervision.watchdog).place
        remedy = "the watchdog kills, and nobody starts it again; write on-failure"
        yield Fault(place, "restart-missing", f"{name} Restart", "no", remedy)


def judge_environment(container: Container) -> Iterator[Fault]:
    """Yield secrets that stand in the manifest; they are never shown."""
    for name, written in container.environment.items():
        if is_secret(name, written):
            ours = name.startswith("TASKER_")
            remedy = (
                f"who reads the manifest has it; mount it and set {shown(name)}_FILE"
                if ours
                else ("who reads the manifest has it; take it from a secret")
            )
            yield Fault(written.place, "plain-secret", f"{shown(container.name)} {shown(name)}", "***", remedy)


def is_secret(name: str, written: Written) -> bool:
    """Whether *written* is a password, or a URL with one; a reference to one is none."""
    value = written.value or ""
    if not value or value.startswith(("$", "%", "<")) or name.endswith("_FILE"):
        return False
    if _PASSWORD.search(value):
        return True
    return name.startswith("TASKER_") and "__" in name and _NAMES.search(name) is not None


def judge_published(container: Container, service: Service) -> Iterator[Fault]:
    """Yield ports that are handed on to the machine, and that nobody listens on outside the container's loopback."""
    for key, port, host in (
        ("server.host", service.port, service.host),
        ("guard.host", service.guard_port, service.guard_host),
    ):
        if port in container.published and is_loopback(host):
            variable = "TASKER_" + key.upper().replace(".", "__")
            remedy = f"nobody outside the container can reach it; set {variable} to 0.0.0.0"
            thing = f"{shown(container.name)} ports {port}"
            yield Fault(container.published[port], "loopback", thing, f"{key} {host}", remedy)
