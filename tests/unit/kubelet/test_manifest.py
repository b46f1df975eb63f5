"""What is read of a Deployment's YAML."""

from __future__ import annotations

import pytest

from kubelet.http_get import HttpGet
from kubelet.manifest import ContainerSpec, NotUnderstoodError, PreStop, ProbeSpec, deployment_of

GUIDE = """
apiVersion: v1
kind: Service
metadata: {name: orders}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    spec:
      terminationGracePeriodSeconds: 45
      containers:
        - name: orders
          image: orders:1
          ports: [{name: probes, containerPort: 8081}]
          env:
            - {name: A, value: "1"}
            - {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
          startupProbe:
            httpGet: {path: /startup, port: probes}
            periodSeconds: 1
            failureThreshold: 60
          readinessProbe:
            httpGet: {path: /ready, port: 8081, httpHeaders: [{name: X, value: y}], scheme: HTTPS, host: a}
            initialDelaySeconds: 10
            periodSeconds: 5
            timeoutSeconds: 3
            successThreshold: 2
          livenessProbe:
            httpGet: {path: /live, port: probes}
            terminationGracePeriodSeconds: 5
          lifecycle: {preStop: {sleep: {seconds: 4}}}
"""


def test_everything_that_a_kubelet_needs_is_read():
    """With the defaults of Kubernetes where nothing is said."""
    spec = deployment_of(GUIDE)
    assert (spec.name, spec.replicas, spec.grace_seconds) == ("orders", 3, 45)
    assert (spec.max_surge, spec.max_unavailable) == (1, 0)
    assert spec.containers == (
        ContainerSpec(
            name="orders",
            image="orders:1",
            probes={
                "startup": ProbeSpec(HttpGet("/startup", 8081), 0, 1, 1, 60, 1),
                "readiness": ProbeSpec(HttpGet("/ready", 8081, "https", "a", {"X": "y"}), 10, 5, 3, 3, 2),
                "liveness": ProbeSpec(HttpGet("/live", 8081), 0, 10, 1, 3, 1, 5),
            },
            pre_stop=PreStop(sleep_seconds=4),
            environment={"A": "1", "B": None},
            ports={"probes": 8081},
        ),
    )


def test_a_share_is_rounded_as_kubernetes_does():
    """More pods are rounded up, fewer are rounded down."""
    text = GUIDE.replace("strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", "")
    spec = deployment_of(text)
    assert (spec.max_surge, spec.max_unavailable) == (1, 0)
    assert deployment_of(text.replace("replicas: 3", "replicas: 5")).max_surge == 2


def test_a_command_may_come_before_the_end():
    """`preStop` with `exec`."""
    spec = deployment_of(GUIDE.replace("sleep: {seconds: 4}", 'exec: {command: [sleep, "4"]}'))
    assert spec.containers[0].pre_stop == PreStop(command=("sleep", "4"))


def test_a_sidecar_is_the_first_container():
    """An init container that is restarted always; one that ends is beyond us."""
    sidecar = "initContainers: [{name: health, image: health:1, restartPolicy: Always}]\n      containers:"
    spec = deployment_of(GUIDE.replace("containers:", sidecar))
    assert [(each.name, each.sidecar) for each in spec.containers] == [("health", True), ("orders", False)]
    with pytest.raises(NotUnderstoodError):
        deployment_of(GUIDE.replace("containers:", sidecar.replace("Always", "OnFailure")))


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("kind: Deployment", "kind: StatefulSet"),
        ("failureThreshold: 60", "successThreshold: 2"),
        ("httpGet: {path: /live, port: probes}", "grpc: {port: 1}"),
        ("{path: /live, port: probes}", "{path: /live, port: nowhere}"),
        ("sleep: {seconds: 4}", "httpGet: {port: 1}"),
        ("status.podIP", "metadata.name"),
    ],
)
def test_what_is_not_understood_is_not_guessed(there, instead):
    """A manifest that a kubelet would refuse, or that this one cannot play."""
    assert there in GUIDE
    with pytest.raises(NotUnderstoodError):
        deployment_of(GUIDE.replace(there, instead))
