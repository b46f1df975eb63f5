"""Facts before all rules: what of them is this service's, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasker_health.deploy.inspection.asked import Asked
from tasker_health.deploy.inspection.balancer_rules import judge_balancer
from tasker_health.deploy.inspection.facts import Balancer, Container, Facts, Means, Role, Workload
from tasker_health.deploy.inspection.faults import Fault
from tasker_health.deploy.inspection.figure_rules import (
    judge_liveness,
    judge_patience,
    judge_readiness,
)
from tasker_health.deploy.inspection.path_rules import judge_means, judge_path
from tasker_health.deploy.inspection.port_rules import judge_address, judge_hosts, judge_port
from tasker_health.deploy.inspection.service import Service, SettingsWith, service_in, service_of
from tasker_health.deploy.inspection.workload_rules import (
    judge_environment,
    judge_published,
    judge_start,
    judge_stop,
)

_JUDGES = (
    judge_path,
    judge_means,
    judge_patience,
    judge_liveness,
    judge_readiness,
    judge_port,
    judge_address,
    judge_hosts,
)


def judge(all_facts: Sequence[Facts], settings_with: SettingsWith) -> tuple[list[Fault], bool]:
    """Return what is wrong in *all_facts*, in the order of their files, and whether anything was this service's."""
    service = service_of(settings_with({}))
    workloads = _ours(all_facts, service)
    balancers = [each for facts in all_facts for each in facts.balancers]
    balancers = [each for each in balancers if len(balancers) == 1 or _is_in_front(each, service)]
    faults = [fault for facts in all_facts for fault in facts.faults]
    for workload, containers in workloads:
        faults += _judge_workload(workload, containers, settings_with)
    for balancer in balancers:
        faults += judge_balancer(balancer, service)
        for probe in balancer.probes:
            faults += _judge_probe(Asked(probe, balancer.name, service))
    order = {file: number for number, file in enumerate(dict.fromkeys(fault.place.file for fault in faults))}
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda each: (order[each.place.file], each.place.line)), bool(workloads or balancers)


def _ours(all_facts: Sequence[Facts], service: Service) -> list[tuple[Workload, list[Container]]]:
    """Return the workloads with those of their containers that are this service's.

    They bear its marks; where nothing does, a container that stands alone is taken for it.
    """
    workloads = [each for facts in all_facts for each in facts.workloads]
    marked = [(each, [one for one in each.containers if _is_marked(one, service)]) for each in workloads]
    if any(containers for _, containers in marked):
        return [(each, containers) for each, containers in marked if containers]
    alone = [(each, list(each.containers)) for each in workloads if len(each.containers) == 1]
    of_compose = [each for each, _ in alone if each.kind == "service"]
    return [pair for pair in alone if pair[0].kind != "service" or len(of_compose) == 1]


def _is_marked(container: Container, service: Service) -> bool:
    if any(name.startswith("TASKER_") and "__" in name for name in container.environment):
        return True
    words = " ".join((container.image, *container.command))
    if "tasker-health" in words or "tasker_health" in words:
        return True
    paths = [probe.path.value or "" for probe in container.probes if probe.path is not None]
    return service.guard_port in container.ports.values() or any("/health/" in path for path in paths)


def _is_in_front(balancer: Balancer, service: Service) -> bool:
    paths = [probe.path.value or "" for probe in balancer.probes if probe.path is not None]
    ports = {server.port for server in balancer.servers}
    return any(path.startswith(service.prefix) for path in paths) or bool(
        ports & {str(service.port), str(service.guard_port)}
    )


def _judge_workload(workload: Workload, containers: list[Container], settings_with: SettingsWith) -> Iterator[Fault]:
    for number, container in enumerate(containers):
        service, faults = service_in(container.environment, settings_with, container.name)
        yield from faults
        if not number:
            yield from judge_start(workload, service)
        yield from judge_stop(workload, container, service)
        yield from judge_environment(container)
        yield from judge_published(container, service)
        for probe in container.probes:
            yield from _judge_probe(Asked(probe, container.name, service, container, workload))


def _judge_probe(asked: Asked) -> Iterator[Fault]:
    if _asks_nothing_of_ours(asked):
        return
    for each in _JUDGES:
        yield from each(asked)


def _asks_nothing_of_ours(asked: Asked) -> bool:
    """Whether a health check looks at something else on purpose, such as a heartbeat's file of a worker."""
    probe = asked.probe
    return probe.role is Role.CONTAINER and probe.means is Means.COMMAND and not probe.program
