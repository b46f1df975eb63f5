"""Deployments of real applications with the figures of our manifest made short, ready to be put on a cluster."""

from __future__ import annotations

import os
import subprocess
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
PRE_STOP_SECONDS = 1
GRACE_SECONDS = 8
_STARTUP_SECONDS = 60
_SHORT = {"TASKER_SERVER__DRAIN_SECONDS": "3", "TASKER_HEALTH__LIVENESS_STALL_SECONDS": str(STALL_SECONDS)}
_TESTS = str(Path(__file__).parents[1])


def rendered() -> str:
    """Return what `tasker-health deploy kubernetes` prints for an application at two free ports."""
    settings = {"TASKER_SERVER__PORT": str(free_port()), "TASKER_GUARD__PORT": str(free_port())}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    command = [sys.executable, "-m", "tasker_health", "deploy", "kubernetes"]
    done = subprocess.run(command, env=kept | settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    (container,) = spec.containers
    probes = {
        kind: replace(
            probe, initial_delay_seconds=0, period_seconds=PERIOD_SECONDS, timeout_seconds=min(1, probe.timeout_seconds)
        )
        for kind, probe in container.probes.items()
    }
    probes["startup"] = replace(probes["startup"], failure_threshold=round(startup_seconds / PERIOD_SECONDS))
    hook = PreStop(sleep_seconds=pre_stop_seconds) if pre_stop_seconds else None
    short = replace(container, probes=probes, pre_stop=hook)
    return replace(spec, containers=(short,), replicas=replicas, grace_seconds=GRACE_SECONDS)


class Stage:
    """What is played in one folder.

    Args:
        manifest: The Deployment, as it is rendered.
        folder: Where the logs are kept.

    Attributes:
        port: Of the application in each pod.
        guard_port: Of the guard in each pod.
    """

    def __init__(self, manifest: DeploymentSpec, folder: Path) -> None:
        (self._container,) = manifest.containers
        self.port, self.guard_port = self._container.ports["http"], self._container.ports["probe"]
        self._manifest, self._folder = manifest, folder

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
        return Cluster(spec, {self._container.image: image}, self._folder, BackOff(back_off_seconds))


def _settings(address: str, more: dict[str, str]) -> dict[str, str]:
    # A pod has abstract sockets of its own, by which workers find their guard; here pods share theirs.
    return {"TASKER_HEALTH__SERVICE_NAME": f"orders-{address}", **_SHORT, **more}
