"""Deployments of real applications with the figures of our manifest made short, ready to be put on a cluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from kubelet.cluster import Cluster
from kubelet.container import Image
from kubelet.manifest import DeploymentSpec, PreStop
from kubelet.pod import BackOff
from server import free_port

STALL_SECONDS = 5
"""The least that the settings allow."""

PERIOD_SECONDS = 0.5
DRAIN_SECONDS = 3
PRE_STOP_SECONDS = 1
GRACE_SECONDS = 8
_STARTUP_SECONDS = 60
_TESTS = str(Path(__file__).parents[1])


def shortened(
    spec: DeploymentSpec,
    *,
    port: int,
    replicas: int = 3,
    pre_stop_seconds: float = PRE_STOP_SECONDS,
    startup_seconds: float = _STARTUP_SECONDS,
) -> DeploymentSpec:
    """Return *spec* with periods, delays and graces of tests, and its probes at *port*.

    Thresholds stay; so do time-outs, but for those that are longer than the kubelet's default of 1 s: they become that.
    """
    (container,) = spec.containers
    probes = {
        kind: replace(
            probe,
            get=replace(probe.get, port=port),
            initial_delay_seconds=0,
            period_seconds=PERIOD_SECONDS,
            timeout_seconds=min(1, probe.timeout_seconds),
        )
        for kind, probe in container.probes.items()
    }
    probes["startup"] = replace(probes["startup"], failure_threshold=round(startup_seconds / PERIOD_SECONDS))
    hook = PreStop(sleep_seconds=pre_stop_seconds) if pre_stop_seconds else None
    short = replace(container, image="app", probes=probes, pre_stop=hook, environment={}, ports={})
    return replace(spec, containers=(short,), replicas=replicas, grace_seconds=GRACE_SECONDS)


def variables(address: str, port: int, guard_port: int, **more: str) -> dict[str, str]:
    """Return the settings of a pod at *address*."""
    return {
        "TASKER_SERVER__HOST": address,
        "TASKER_SERVER__PORT": str(port),
        "TASKER_SERVER__DRAIN_SECONDS": str(DRAIN_SECONDS),
        "TASKER_GUARD__ENABLED": "true",
        "TASKER_GUARD__HOST": address,
        "TASKER_GUARD__PORT": str(guard_port),
        "TASKER_HEALTH__LIVENESS_STALL_SECONDS": str(STALL_SECONDS),
        # A pod has abstract sockets of its own, by which workers find their guard; here pods share theirs.
        "TASKER_HEALTH__SERVICE_NAME": f"orders-{address}",
        **more,
    }


class Stage:
    """Ports, images and a folder of one scene.

    Args:
        manifest: The Deployment, as it is rendered.
        folder: Where the logs are kept.
    """

    def __init__(self, manifest: DeploymentSpec, folder: Path) -> None:
        self.port, self.guard_port = free_port(), free_port()
        self._manifest, self._folder = manifest, folder

    def application(self, **more: str) -> Image:
        """Return our application under uvicorn, with *more* settings."""

        def words(address: str) -> list[str]:
            command = ["uvicorn", "--app-dir", _TESTS, "--host", address, "--port", str(self.port), "--no-access-log"]
            return [sys.executable, "-m", *command, "kubelet.application:app"]

        return Image(words, lambda address: variables(address, self.port, self.guard_port, **more))

    def serve(self, **more: str) -> Image:
        """Return `tasker-health serve`, with *more* settings."""

        def words(_address: str) -> list[str]:
            return [sys.executable, "-m", "tasker_health", "serve"]

        return Image(words, lambda address: variables(address, self.port, self.guard_port, **more))

    def cluster(self, image: Image, *, back_off_seconds: float = 10, **options: float) -> Cluster:
        """Return a cluster with pods of *image*; *options* as `shortened` takes them."""
        spec = shortened(self._manifest, port=self.guard_port, **options)
        return Cluster(spec, {"app": image}, self._folder, BackOff(back_off_seconds))
