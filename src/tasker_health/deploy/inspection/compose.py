"""Reads compose files: services, what they are told, and their health checks."""

from __future__ import annotations

from dataclasses import replace

from tasker_health.deploy.inspection.commands import asked_by, words_of
from tasker_health.deploy.inspection.facts import Container, Facts, Means, Probe, Role, Workload, Written
from tasker_health.deploy.inspection.faults import Place, shown
from tasker_health.deploy.inspection.figures import port_of, seconds_of
from tasker_health.deploy.inspection.tree import Tree
from tasker_health.deploy.plan import Prober

GRACE_SECONDS = 10
_DEFAULTS = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0}
_FIGURES = {
    "interval": "period_seconds",
    "timeout": "timeout_seconds",
    "start_period": "initial_delay_seconds",
    "retries": "failure_threshold",
}


def is_compose(trees: list[Tree]) -> bool:
    """Whether *trees* are one compose file."""
    services = trees[0].at("services") if len(trees) == 1 else None
    return services is not None and any(
        each.at("image") is not None or each.at("build") is not None or each.at("extends") is not None
        for each in services.keys.values()
    )


def read(trees: list[Tree]) -> Facts:
    """Return what the file says of its services."""
    services = trees[0].at("services")
    named = services.keys if services else {}
    return Facts(
        workloads=tuple(_workload(name, tree) for name, tree in named.items()),
        notes=tuple(
            f"{tree.keys['env_file'].place}: env_file of {shown(name)} is not read; what it sets is not judged"
            for name, tree in named.items()
            if "env_file" in tree.keys
        ),
    )


def _workload(name: str, tree: Tree) -> Workload:
    grace = tree.at("stop_grace_period")
    seconds = seconds_of(grace.text or "") if grace is not None else None
    return Workload(
        kind="service",
        name=name,
        place=tree.place,
        containers=(_container(name, tree),),
        grace_thing="stop_grace_period",
        grace_place=(grace or tree).place,
        grace_seconds=GRACE_SECONDS if seconds is None else seconds,
    )


def _container(name: str, tree: Tree) -> Container:
    ports = {str(number): number for number in _exposed(tree)}
    signal = tree.at("stop_signal")
    probe = _probe(tree.at("healthcheck"))
    command = [*_words(tree.at("entrypoint")), *_words(tree.at("command"))]
    return Container(
        name=name,
        place=tree.place,
        image=tree.words("image"),
        command=tuple(command),
        environment=_environment(tree.at("environment")),
        ports=ports,
        published=_published(tree),
        probes=(probe,) if probe else (),
        stop_signal=Written(signal.text, signal.place) if signal is not None else None,
    )


def _words(tree: Tree | None) -> list[str]:
    if tree is None:
        return []
    return [each.text or "" for each in tree.items] or list(words_of(tree.text or ""))


def _environment(tree: Tree | None) -> dict[str, Written]:
    if tree is None:
        return {}
    found = {name: Written(each.text, each.place) for name, each in tree.keys.items()}
    for each in tree.items:
        name, equals, value = (each.text or "").partition("=")
        found[name] = Written(value if equals else None, each.place)
    return found


def _published(tree: Tree) -> dict[int, Place]:
    """Return where each port of the container is handed on to the machine."""
    found = {}
    for each in tree.list_at("ports"):
        target = each.words("target") or (each.text or "").rpartition(":")[2].partition("/")[0]
        number = port_of(target)
        if number is not None:
            found[number] = each.place
    return found


def _exposed(tree: Tree) -> set[int]:
    exposed = {port_of((each.text or "").partition("/")[0]) for each in tree.list_at("expose")}
    return {number for number in exposed if number is not None} | set(_published(tree))


def _probe(tree: Tree | None) -> Probe | None:
    test = tree.at("test") if tree is not None else None
    if tree is None or test is None or tree.words("disable") == "true":
        return None
    words = [each.text or "" for each in test.items] or ["CMD-SHELL", test.text or ""]
    if words[0] == "NONE":
        return None
    seconds = {name: seconds_of(tree.words(name)) for name in _DEFAULTS}
    period, timeout, delay = (each if (each := seconds[name]) is not None else _DEFAULTS[name] for name in _DEFAULTS)
    probe = Probe(
        thing="healthcheck",
        place=test.place,
        role=Role.CONTAINER,
        means=Means.COMMAND,
        figures=Prober(delay, period, timeout, int(min(tree.number("retries", default=3), 1e9))),
        named={ours: tree.keys[name].place for name, ours in _FIGURES.items() if name in tree.keys},
    )
    command = words_of(words[1]) if words[0] == "CMD-SHELL" and len(words) > 1 else tuple(words[1:])
    return asked_by(replace(probe), command)
