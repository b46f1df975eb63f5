"""Does a balancer notice who cannot serve, and send nothing twice that must not be?"""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.inspection.facts import Balancer
from tasker_health.deploy.inspection.faults import Fault, shown
from tasker_health.deploy.inspection.service import Service


def judge_balancer(balancer: Balancer, service: Service) -> Iterator[Fault]:
    """Yield what is wrong with *balancer* beside its probes."""
    name = shown(balancer.name)
    if balancer.software == "haproxy":
        for server in balancer.servers:
            if not server.checked:
                remedy = f"it is asked nothing and stays in whatever happens; add check port {service.probe_port}"
                yield Fault(server.place, "balancer-check", f"{name} server {shown(server.name)}", "no check", remedy)
    if balancer.asks and not balancer.expects:
        remedy = "a redirect counts as healthy, too; add http-check expect status 200"
        place = balancer.probes[0].place if balancer.probes else balancer.place
        yield Fault(place, "balancer-expect", f"{name} http-check expect", "not there", remedy)
    if balancer.retries is not None:
        remedy = "a request that was carried out is sent again; leave out what repeats a POST"
        value = shown(balancer.retries.value or "")
        yield Fault(balancer.retries.place, "retry-non-idempotent", f"{name} retries", value, remedy)
    for each in balancer.never_out:
        remedy = "a server that fails goes on getting its share of requests, and each of them fails; leave it out"
        yield Fault(each.place, "balancer-passive", f"{name} servers", shown(each.value or ""), remedy)
