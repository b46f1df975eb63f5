"""Deployments of real applications with the figures of our manifest made short, ready to be put on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from kubelet.cluster import Cluster
from kubelet.container import Image
from kubelet.manifest import DeploymentSpec, PreStop, ProbeSpec, deployment_of
from kubelet.pod import BackOff
from server import free_port

STALL_SECONDS = 5
"""The least that the settings allow."""

PERIOD_SECONDS = 0.5
PRE_STOP_SECONDS = 1
GRACE_SECONDS = 8
_STARTUP_SECONDS = 60
_SHORT = {"TASKER_SERVER__DRAIN_SECONDS": "3", "TASKER_HEALTH__LIVENESS_STALL_SECONDS": str(STALL_SECONDS)}
_TESTS = str(Path(__file__).parents[1])


def rendered(*options: str) -> DeploymentSpec:
    """Return what `tasker-health deploy kubernetes` prints with *options*, for two free ports."""
    settings = {"TASKER_SERVER__PORT": str(free_port()), "TASKER_GUARD__PORT": str(free_port())}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    command = [sys.executable, "-m", "tasker_health", "deploy", "kubernetes", *options]
    done = subprocess.run(command, env=kept | settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return deployment_of(done.stdout)


def shortened(
    spec: DeploymentSpec,
    *,
    replicas: int = 3,
    pre_stop_seconds: float = PRE_STOP_SECONDS,
    startup_seconds: float = _STARTUP_SECONDS,
) -> DeploymentSpec:
    """Return *spec* with periods, delays and graces of tests.

    Thresholds stay; so do time-outs, but for those that are longer than the kubelet's default of 1 s: they become that.
    """
    hook = PreStop(sleep_seconds=pre_stop_seconds) if pre_stop_seconds else None
    containers = []
    for container in spec.containers:
        probes = {kind: _short(probe) for kind, probe in container.probes.items()}
        if "startup" in probes:
            threshold = round(startup_seconds / PERIOD_SECONDS)
            probes["startup"] = replace(probes["startup"], failure_threshold=threshold)
        containers.append(replace(container, probes=probes, pre_stop=hook if container.pre_stop else None))
    return replace(spec, containers=tuple(containers), replicas=replicas, grace_seconds=GRACE_SECONDS)


def _short(probe: ProbeSpec) -> ProbeSpec:
    timeout_seconds = min(1, probe.timeout_seconds)
    return replace(probe, initial_delay_seconds=0, period_seconds=PERIOD_SECONDS, timeout_seconds=timeout_seconds)


class Stage:
    """What is played in one folder.

    Args:
        manifest: The Deployment, as it is rendered.
        folder: Where the logs are kept.

    Attributes:
        port: Of the application in each pod.
        guard_port: Of the guard in each pod.
        folder: Where the logs are kept.
    """

    def __init__(self, manifest: DeploymentSpec, folder: Path) -> None:
        self._container = next(each for each in manifest.containers if each.probes)
        self.port, self.guard_port = self._container.ports.get("http", 0), self._container.ports["probe"]
        self._manifest, self.folder = manifest, folder

    def application(self, **more: str) -> Image:
        """Return our application under uvicorn, with *more* settings than the manifest's."""

        def words(address: str) -> list[str]:
            command = ["uvicorn", "--app-dir", _TESTS, "--host", address, "--port", str(self.port), "--no-access-log"]
            return [sys.executable, "-m", *command, "kubelet.application:app"]

        return Image(words, lambda address: _settings(address, more))

    def serve(self, **more: str) -> Image:
        """Return `tasker-health serve`, with *more* settings than the manifest's."""

        def words(_address: str) -> list[str]:
            return [sys.executable, "-m", "tasker_health", "serve"]

        return Image(words, lambda address: _settings(address, more))

    def cluster(self, image: Image, *, back_off_seconds: float = 10, **options: float) -> Cluster:
        """Return a cluster with pods of *image*; *options* as `shortened` takes them."""
        return self._cluster(shortened(self._manifest, **options), image, back_off_seconds)

    def cluster_as_it_is(self, image: Image) -> Cluster:
        """Return a cluster of the manifest as it is rendered."""
        return self._cluster(self._manifest, image, 10)

    def _cluster(self, spec: DeploymentSpec, image: Image, back_off_seconds: float) -> Cluster:
        images = {each.image: WORKER for each in spec.containers} | {self._container.image: image}
        return Cluster(spec, images, self.folder, BackOff(back_off_seconds))


WORKER = Image(lambda _: ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"], lambda _: {})
"""Who works beside a sidecar, and takes a second to end."""


def _settings(address: str, more: dict[str, str]) -> dict[str, str]:
    # A pod has abstract sockets of its own, by which workers find their guard; here pods share theirs.
    return {"TASKER_HEALTH__SERVICE_NAME": f"orders-{address}", **_SHORT, **more}
