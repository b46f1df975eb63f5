"""Reads Kubernetes' manifests: pods and whatever makes them, as written, or as kustomize and Helm render them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasker_health.deploy.inspection.commands import asked_by, words_of
from tasker_health.deploy.inspection.facts import Container, Facts, Means, Probe, Role, Workload, Written
from tasker_health.deploy.inspection.faults import shown
from tasker_health.deploy.inspection.figures import port_of, seconds_of
from tasker_health.deploy.inspection.tree import Tree
from tasker_health.deploy.plan import Prober

MOST_OBJECTS = 10_000
GRACE_SECONDS = 30

_TEMPLATES = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), ("spec", "template")
    ),
}
_ENDING = {"Job", "CronJob"}
_PROBES = {
    "startupProbe": Role.STARTUP,
    "readinessProbe": Role.READINESS,
    "livenessProbe": Role.LIVENESS,
}
_FIGURES = {
    "initialDelaySeconds": "initial_delay_seconds",
    "periodSeconds": "period_seconds",
    "timeoutSeconds": "timeout_seconds",
    "failureThreshold": "failure_threshold",
    "successThreshold": "success_threshold",
}


def is_kubernetes(trees: list[Tree]) -> bool:
    """Whether one of *trees* is an object of Kubernetes."""
    return any(tree.words("kind") and tree.words("apiVersion") for tree in trees)


def config_maps(trees: list[Tree]) -> dict[str, Tree]:
    """Return the ConfigMaps of *trees* by their names."""
    return {each.words("metadata", "name"): each for each in _objects(trees) if each.words("kind") == "ConfigMap"}


def read(trees: list[Tree], maps: dict[str, Tree]) -> Facts:
    """Return what *trees* say, with *maps* for what they take from there."""
    objects = list(_objects(trees))
    workloads: list[Workload] = []
    notes: list[str] = []
    for each in objects:
        path = _TEMPLATES.get(each.words("kind"))
        template = each.at(*path) if path is not None else None
        if template is None or template.at("spec") is None:
            continue
        if any(not one.words("image") for one in template.list_at("spec", "containers")):
            notes.append(
                f"{each.place}: a patch, which is not judged; kubectl kustomize ... | tasker-health deploy check -"
            )
            continue
        workloads.append(_workload(each, template, maps, notes))
    return Facts(workloads=tuple(workloads), notes=tuple(dict.fromkeys(notes)))


def _objects(trees: list[Tree]) -> Iterator[Tree]:
    """Yield every object, those of a List one by one; of a bomb no more than a manifest can have."""
    waiting, count = list(reversed(trees)), 0
    while waiting and count < MOST_OBJECTS:
        tree = waiting.pop()
        count += 1
        if tree.words("kind").endswith("List") and tree.at("items") is not None:
            waiting.extend(reversed(tree.list_at("items")[:MOST_OBJECTS]))
        else:
            yield tree


def _workload(tree: Tree, template: Tree, maps: dict[str, Tree], notes: list[str]) -> Workload:
    spec = template.at("spec") or template
    sidecars = [each for each in spec.list_at("initContainers") if each.words("restartPolicy") == "Always"]
    grace = spec.at("terminationGracePeriodSeconds")
    kind = tree.words("kind")
    return Workload(
        kind=kind,
        name=tree.words("metadata", "name") or tree.words("metadata", "generateName"),
        place=(tree.at("kind") or tree).place,
        containers=tuple(_container(each, maps, notes) for each in (*sidecars, *spec.list_at("containers"))),
        grace_thing="terminationGracePeriodSeconds",
        grace_place=(grace or spec).place,
        grace_seconds=spec.number("terminationGracePeriodSeconds", default=GRACE_SECONDS),
        serves=kind not in _ENDING and spec.words("restartPolicy") in {"", "Always"},
    )


def _container(tree: Tree, maps: dict[str, Tree], notes: list[str]) -> Container:
    ports: dict[str, int] = {}
    for port in tree.list_at("ports"):
        number = port_of(port.words("containerPort"))
        if number is not None:
            ports[str(number)] = number
            if port.words("name"):
                ports[port.words("name")] = number
    signal = tree.at("lifecycle", "stopSignal")
    return Container(
        name=tree.words("name"),
        place=tree.place,
        image=tree.words("image"),
        command=tuple(each.text or "" for each in (*tree.list_at("command"), *tree.list_at("args"))),
        environment=_environment(tree, maps, notes),
        ports=ports,
        probes=tuple(_probe(name, role, tree) for name, role in _PROBES.items() if tree.at(name) is not None),
        pre_stop_seconds=_pre_stop(tree.at("lifecycle", "preStop")),
        stop_signal=Written(signal.text, signal.place) if signal is not None else None,
    )


def _environment(tree: Tree, maps: dict[str, Tree], notes: list[str]) -> dict[str, Written]:
    found: dict[str, Written] = {}
    for each in tree.list_at("envFrom"):
        name = each.words("configMapRef", "name")
        if name and name not in maps:
            notes.append(f"{each.place}: ConfigMap {shown(name)} was not given, and is not judged; give it, too")
        if name in maps:
            data = maps[name].at("data")
            prefix = each.words("prefix")
            found |= {
                prefix + key: Written(value.text, value.place) for key, value in (data.keys if data else {}).items()
            }
    for each in tree.list_at("env"):
        value: Tree | None = each.at("value")
        reference = each.at("valueFrom", "configMapKeyRef")
        if reference is not None and reference.words("name") in maps:
            value = maps[reference.words("name")].at("data", reference.words("key"))
        place = (value or each).place
        found[each.words("name")] = Written((value.text or "") if value is not None else None, place)
    return found


def _probe(name: str, role: Role, container: Tree) -> Probe:
    tree = container.keys[name]
    named = {ours: tree.keys[theirs].place for theirs, ours in _FIGURES.items() if theirs in tree.keys}
    figures = Prober(
        initial_delay_seconds=tree.number("initialDelaySeconds", default=0),
        period_seconds=tree.number("periodSeconds", default=10),
        timeout_seconds=tree.number("timeoutSeconds", default=1),
        failure_threshold=int(min(tree.number("failureThreshold", default=3), 1e9)),
        success_threshold=int(min(tree.number("successThreshold", default=1), 1e9)),
    )
    probe = Probe(thing=name, place=tree.place, role=role, means=Means.TCP, figures=figures, named=named)
    command = tree.at("exec", "command")
    if command is not None:
        words = tuple(each.text or "" for each in command.items)
        return asked_by(replace(probe, place=command.place), words)
    for key, means in (("httpGet", Means.HTTP), ("tcpSocket", Means.TCP), ("grpc", Means.GRPC)):
        action = tree.at(key)
        if action is not None:
            return _asking(replace(probe, means=means, place=action.place), action)
    return probe


def _asking(probe: Probe, action: Tree) -> Probe:
    path = (action.words("path") or "/").partition("?")[0]
    headers = {
        each.words("name").lower(): Written(each.words("value"), each.place) for each in action.list_at("httpHeaders")
    }
    at = {name: each.place for name, each in action.keys.items()}
    is_http = probe.means is Means.HTTP
    return replace(
        probe,
        path=Written(path, at.get("path", action.place)) if is_http else None,
        port=Written(action.words("port"), at.get("port", action.place)),
        host=Written(action.words("host"), at["host"]) if action.words("host") else None,
        secure=action.words("scheme").upper() == "HTTPS",
        headers=headers,
        service=action.words("service"),
    )


def _pre_stop(tree: Tree | None) -> float | None:
    """Return how long a `preStop` leaves the process alone: a `sleep`, or a command that is one; 0: it does not say."""
    if tree is None:
        return None
    if tree.at("sleep") is not None:
        return tree.number("sleep", "seconds", default=0)
    given = [word for each in tree.list_at("exec", "command") for word in words_of(each.text or "")]
    words = [word.removeprefix("/usr").removeprefix("/bin/") for word in given]
    if "sleep" in words[:-1]:
        return seconds_of(words[words.index("sleep") + 1].rstrip(";")) or 0
    return 0
