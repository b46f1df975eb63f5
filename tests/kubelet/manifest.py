"""A Deployment as its YAML says it: what the kubelet and the Deployment's controller need to know of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kubelet.http_get import HttpGet


class NotUnderstoodError(Exception):
    """A manifest that Kubernetes would refuse, or that says something this kubelet does not do."""


@dataclass(frozen=True)
class ProbeSpec:
    """A probe, with the defaults of Kubernetes."""

    get: HttpGet
    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    failure_threshold: int = 3
    success_threshold: int = 1
    grace_seconds: float | None = None


@dataclass(frozen=True)
class PreStop:
    """What comes before SIGTERM: so many seconds, or a command in the container."""

    sleep_seconds: float = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerSpec:
    """A container; `environment` has `None` where the pod's address stands.

    A sidecar is an init container that goes on: it starts before the others, and ends after them.
    """

    name: str
    image: str
    probes: Mapping[str, ProbeSpec] = field(default_factory=dict)
    pre_stop: PreStop | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    sidecar: bool = False


@dataclass(frozen=True)
class DeploymentSpec:
    """A Deployment: its pods, how many, and how they are replaced."""

    name: str
    containers: tuple[ContainerSpec, ...]
    replicas: int = 1
    grace_seconds: float = 30
    max_surge: int = 1
    max_unavailable: int = 0
    min_ready_seconds: float = 0


def deployment_of(text: str) -> DeploymentSpec:
    """Return the one Deployment in the YAML documents of *text*.

    Raises:
        NotUnderstoodError: There is none, or it is beyond this kubelet.
    """
    found = [each for each in yaml.safe_load_all(text) if each and each.get("kind") == "Deployment"]
    if len(found) != 1:
        raise NotUnderstoodError(f"{len(found)} Deployments")
    (document,) = found
    spec, pod = document["spec"], document["spec"]["template"]["spec"]
    if any(each.get("restartPolicy") != "Always" for each in pod.get("initContainers", ())):
        raise NotUnderstoodError("initContainers that end")
    sidecars = (_container(each, sidecar=True) for each in pod.get("initContainers", ()))
    replicas = spec.get("replicas", 1)
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    return DeploymentSpec(
        name=document["metadata"]["name"],
        containers=(*sidecars, *map(_container, pod["containers"])),
        replicas=replicas,
        grace_seconds=pod.get("terminationGracePeriodSeconds", 30),
        max_surge=_share(rolling.get("maxSurge", "25%"), replicas, math.ceil),
        max_unavailable=_share(rolling.get("maxUnavailable", "25%"), replicas, math.floor),
        min_ready_seconds=spec.get("minReadySeconds", 0),
    )


def _share(value: Any, replicas: int, rounded: Any) -> int:
    return rounded(replicas * int(value[:-1]) / 100) if isinstance(value, str) else int(value)


def _container(document: dict[str, Any], *, sidecar: bool = False) -> ContainerSpec:
    ports = {each["name"]: each["containerPort"] for each in document.get("ports", ()) if "name" in each}
    probes = {
        kind: _probe(kind, document[f"{kind}Probe"], ports)
        for kind in ("startup", "readiness", "liveness")
        if f"{kind}Probe" in document
    }
    return ContainerSpec(
        name=document["name"],
        image=document.get("image", ""),
        probes=probes,
        pre_stop=_pre_stop(document.get("lifecycle", {}).get("preStop")),
        environment=dict(_variable(each) for each in document.get("env", ())),
        ports=ports,
        sidecar=sidecar,
    )


def _probe(kind: str, document: dict[str, Any], ports: Mapping[str, int]) -> ProbeSpec:
    get = document.get("httpGet")
    if get is None:
        raise NotUnderstoodError(f"{kind}Probe without httpGet: {sorted(document)}")
    if kind != "readiness" and document.get("successThreshold", 1) != 1:
        raise NotUnderstoodError(f"{kind}Probe.successThreshold = {document['successThreshold']}: must be 1")
    if get["port"] not in ports and not isinstance(get["port"], int):
        raise NotUnderstoodError(f"{kind}Probe: no port is called {get['port']!r}")
    return ProbeSpec(
        get=HttpGet(
            path=get.get("path", "/"),
            port=ports.get(get["port"], get["port"]),
            scheme=get.get("scheme", "HTTP").lower(),
            host=get.get("host", ""),
            headers={each["name"]: each["value"] for each in get.get("httpHeaders", ())},
        ),
        initial_delay_seconds=document.get("initialDelaySeconds", 0),
        period_seconds=document.get("periodSeconds", 10),
        timeout_seconds=document.get("timeoutSeconds", 1),
        failure_threshold=document.get("failureThreshold", 3),
        success_threshold=document.get("successThreshold", 1),
        grace_seconds=document.get("terminationGracePeriodSeconds"),
    )


def _pre_stop(document: dict[str, Any] | None) -> PreStop | None:
    if document is None:
        return None
    if "sleep" in document:
        return PreStop(sleep_seconds=document["sleep"]["seconds"])
    if "exec" in document:
        return PreStop(command=tuple(document["exec"]["command"]))
    raise NotUnderstoodError(f"preStop: {sorted(document)}")


def _variable(document: dict[str, Any]) -> tuple[str, str | None]:
    if "value" in document:
        return document["name"], document["value"]
    if document["valueFrom"].get("fieldRef", {}).get("fieldPath") == "status.podIP":
        return document["name"], None
    raise NotUnderstoodError(f"{document['name']}: {document['valueFrom']}")
