"""Does the question arrive: at the right port, over the right scheme, at an address that can be reached?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasker_health.deploy.inspection.asked import OF_THE_KUBELET, Asked
from tasker_health.deploy.inspection.facts import Means, Probe, Role
from tasker_health.deploy.inspection.faults import Fault
from tasker_health.deploy.inspection.service import is_loopback

_BINDS = re.compile(r"(?:--host|--bind|-b|-H|--address)[= ](127\.[\d.]+|localhost|\[?::1\]?)")
_HOSTS = {"ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS"}


def judge_port(asked: Asked) -> Iterator[Fault]:
    """Yield what is wrong with the port and how it is spoken to."""
    probe, service, number = asked.probe, asked.service, asked.port
    if probe.port is None or probe.role is Role.RELAYED:
        return
    place = probe.port.place
    if number is None or number not in _known(asked):
        remedy = f"nobody serves it; ask port {service.probe_port}"
        yield asked.fault("unknown-port", probe.port.value or "", remedy, of="port", at=place)
        return
    if _is_beside_guard(asked, number):
        remedy = f"the application cannot answer when it is wedged; ask the guard at port {service.guard_port}"
        yield asked.fault("guard-port", str(number), remedy, of="port", at=place)
    if number == service.guard_port and asked.asks_guard and probe.secure:
        yield asked.fault("scheme", "HTTPS", "the guard speaks plain HTTP; write HTTP", of="scheme", at=place)
    elif number == service.port and not asked.is_application_of_others and _speaks_http(probe):
        yield from _judge_scheme(asked)


def _known(asked: Asked) -> set[int]:
    """Return the ports that somebody may serve."""
    probe, service = asked.probe, asked.service
    known = {service.port, asked.port or 0} if probe.role is Role.BALANCER else {service.port}
    if service.guard is not False:
        known.add(service.guard_port)
    if service.grpc_port is not None:
        known.add(service.grpc_port)
    workload = asked.workload
    return known | {number for each in (workload.containers if workload else ()) for number in each.ports.values()}


def _is_beside_guard(asked: Asked, number: int) -> bool:
    """Whether there is a guard, and *number* is not its port."""
    service = asked.service
    if number in {service.guard_port, service.grpc_port} or service.guard is False:
        return False
    if service.guard:
        return True
    return number == service.port and not asked.is_application_of_others


def _speaks_http(probe: Probe) -> bool:
    return probe.means is Means.HTTP or (probe.means is Means.COMMAND and probe.path is not None)


def _judge_scheme(asked: Asked) -> Iterator[Fault]:
    probe, service = asked.probe, asked.service
    if probe.secure and not service.secure:
        remedy = "server.tls_certificate_file is not set, so HTTP is spoken; write HTTP, or set it"
        yield asked.fault("scheme", "HTTPS", remedy, of="scheme")
    if service.secure and not probe.secure:
        remedy = "server.tls_certificate_file is set, so only HTTPS is spoken; write HTTPS, or ask the guard"
        yield asked.fault("scheme", "HTTP", remedy, of="scheme")


def judge_address(asked: Asked) -> Iterator[Fault]:
    """Yield what keeps a prober outside from being answered."""
    probe, service, number = asked.probe, asked.service, asked.port
    if probe.role not in OF_THE_KUBELET or probe.means is Means.COMMAND or probe.host is not None:
        return
    place = probe.port.place if probe.port is not None else probe.place
    key, host = "server.host", None
    if asked.asks_guard:
        key, host = "guard.host", service.guard_host
    elif number == service.port and not asked.is_application_of_others:
        host = service.host
    if is_loopback(host):
        variable = "TASKER_" + key.upper().replace(".", "__")
        remedy = f"the kubelet asks the pod's address; set {variable} to that (fieldRef: status.podIP), or to 0.0.0.0"
        yield asked.fault("loopback", f"{key} {host}", remedy, of="port", at=place)
        return
    command = " ".join(asked.container.command) if asked.container is not None else ""
    bound = _BINDS.search(command)
    if bound is not None and not asked.asks_guard:
        remedy = "the kubelet asks the pod's address; have the server listen on 0.0.0.0"
        yield asked.fault("loopback", bound[0], remedy, of="port", at=place)


def judge_hosts(asked: Asked) -> Iterator[Fault]:
    """Yield what has Django answer 400 to who asks by an address."""
    probe, container = asked.probe, asked.container
    if container is None or probe.means is not Means.HTTP or asked.asks_guard or probe.role not in OF_THE_KUBELET:
        return
    for name in sorted(_HOSTS & set(container.environment)):
        allowed = container.environment[name].value
        hosts = {each.strip(" '\"[]").lower() for each in (allowed or "").split(",")}
        sent = probe.headers.get("host")
        if allowed is None or "*" in hosts or (sent is not None and (sent.value or "").lower() in hosts):
            continue
        remedy = (
            f"the kubelet's Host is the pod's address, so Django's middleware answers 400; ask the guard at port"
            f" {asked.service.guard_port}, or wrap the application: health.asgi(...) answers before the middleware"
        )
        yield asked.fault("allowed-hosts", f"without a Host of {name}", remedy, of="httpHeaders")
