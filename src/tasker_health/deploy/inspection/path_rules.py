"""Is the right thing asked, and by the right means?"""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.inspection.asked import OF_THE_KUBELET, Asked
from tasker_health.deploy.inspection.facts import Means, Role
from tasker_health.deploy.inspection.faults import Fault

_WANTED = {
    Role.LIVENESS: "live",
    Role.READINESS: "ready",
    Role.STARTUP: "startup",
    Role.CONTAINER: "live",
    Role.BALANCER: "ready",
    Role.RELAYED: "ready",
}

_RESTARTS = ("liveness-path", "a dependency that is away would restart every process")
_UNSAID = ("readiness-path", "it does not say whether requests can be served")
_FOR_PEOPLE = ("status-probed", "the status is for people and monitors, who may be asked who they are")
_BROKEN = {
    **dict.fromkeys(((Role.LIVENESS, each) for each in ("ready", "startup", "status")), _RESTARTS),
    **dict.fromkeys(((Role.READINESS, each) for each in ("live", "startup", "status")), _UNSAID),
    **dict.fromkeys(((Role.BALANCER, each) for each in ("live", "startup", "status")), _UNSAID),
    **dict.fromkeys(((Role.RELAYED, each) for each in ("live", "startup")), _UNSAID),
    **dict.fromkeys(((each, "status") for each in (Role.STARTUP, Role.CONTAINER, Role.RELAYED)), _FOR_PEOPLE),
    (Role.STARTUP, "ready"): ("startup-path", "with a dependency away nothing would ever start"),
}


def judge_path(asked: Asked) -> Iterator[Fault]:
    """Yield what is wrong with what is asked for."""
    probe, service = asked.probe, asked.service
    wanted = service.path(_WANTED[probe.role])
    if probe.path is None and probe.means is not Means.GRPC:
        return
    value = (probe.path.value or "") if probe.path is not None else probe.service or "''"
    place = probe.path.place if probe.path is not None else probe.place
    if probe.means is Means.GRPC:
        wanted = {"live": "service: liveness", "ready": "service: readiness"}.get(
            _WANTED[probe.role], "service: startup"
        )
    of = "service" if probe.means is Means.GRPC else "path"
    rule = _rule(asked)
    if rule is not None:
        yield asked.fault(rule[0], value, f"{rule[1]}; ask {wanted}", of=of, at=place)


def _rule(asked: Asked) -> tuple[str, str] | None:
    """Return the rule that the path breaks, and why."""
    endpoint, role = asked.endpoint, asked.probe.role
    if endpoint is None:
        return "unknown-path", "not an endpoint of this service, which stands below " + asked.service.path("")
    if role is Role.CONTAINER and endpoint == "ready":
        is_image = asked.workload is not None and asked.workload.kind == "image"
        why = "Swarm, and whoever heals by this, would restart for a dependency that is away"
        return ("liveness-path", why) if is_image else None
    return _BROKEN.get((role, endpoint))


def judge_means(asked: Asked) -> Iterator[Fault]:
    """Yield what is wrong with how it is asked."""
    probe, service = asked.probe, asked.service
    if probe.means is Means.TCP and probe.role is not Role.STARTUP:
        wanted = service.path(_WANTED[probe.role])
        remedy = f"a wedged process takes connections, too; ask {wanted} at port {service.probe_port}"
        yield asked.fault("tcp-probe", probe.port.value or "?" if probe.port else "?", remedy)
    if probe.means is Means.COMMAND:
        yield from _judge_command(asked)
    if probe.host is not None and probe.role in OF_THE_KUBELET and probe.means is not Means.COMMAND:
        remedy = "the kubelet asks from the node, where this is another host; leave it out, and the pod is asked"
        yield asked.fault("probe-host", probe.host.value or "", remedy, of="host", at=probe.host.place)
    credentials = probe.headers.get("authorization")
    if credentials is not None:
        remedy = "live, ready and startup ask nobody who he is; leave it out, and change what was written here"
        yield asked.fault("plain-secret", "***", remedy, of="Authorization", at=credentials.place)


def _judge_command(asked: Asked) -> Iterator[Fault]:
    probe, service = asked.probe, asked.service
    url = f"http://127.0.0.1:{service.probe_port}{service.path(_WANTED[probe.role])}"
    is_ours = probe.program == "tasker-health" and probe.arguments[:1] == ("probe",)
    container = " --container" if probe.role is Role.CONTAINER else ""
    remedy = f"write tasker-health probe{container} {url}, which needs no shell and no curl"
    if probe.role in OF_THE_KUBELET:
        remedy = f"write httpGet with port {service.probe_port} and path {service.path(_WANTED[probe.role])}"
    if not is_ours:
        why = "it starts a process each time"
        if probe.program == "tasker-health":
            why = "it asks the dependencies themselves, each time anew"
        yield asked.fault("exec-probe", probe.program or "a command", f"{why}; {remedy}")
    elif probe.role is Role.CONTAINER and "--container" not in probe.arguments:
        yield asked.fault("container-flag", "without --container", "its code 2 is reserved by Docker; " + remedy)
