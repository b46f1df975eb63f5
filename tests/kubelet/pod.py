"""A pod on this kubelet: its containers are started, probed, restarted with back-off, and ended in good order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubelet.container import Container, Image
from kubelet.http_get import Found, Outcome, probe
from kubelet.manifest import DeploymentSpec, ProbeSpec
from kubelet.worker import Worker

_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class BackOff:
    """How long a container waits after it has ended, from its second end on, doubled each time.

    Attributes:
        first_seconds: Of the second end; the first costs nothing.
        most_seconds: At most.
    """

    first_seconds: float = 10
    most_seconds: float = 300

    def seconds(self, restarts: int) -> float:
        """Return how long the next restart waits after so many."""
        return 0 if restarts == 0 else min(self.most_seconds, self.first_seconds * 2 ** (restarts - 1))


@dataclass(frozen=True)
class Event:
    """Something that `kubectl describe pod` would show.

    Attributes:
        at: When, by the monotonic clock.
        reason: Such as `Unhealthy`, `ProbeWarning`, `Killing`, `Ready`, `NotReady`.
        words: About what.
    """

    at: float
    reason: str
    words: str = ""


class Pod:
    """A pod of a Deployment.

    Args:
        spec: What it is made of.
        images: What runs in its containers, by the name of the image.
        address: Its own.
        folder: Where its log is kept.
        back_off: Before a container that has ended twice is started again.
        random_start: Whether probes begin somewhere in their first period, as those of a kubelet do that just started.

    Attributes:
        events: What has happened so far.
        deleted: Whether it was told to end.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        images: Mapping[str, Image],
        address: str,
        folder: Path,
        back_off: BackOff,
        *,
        random_start: bool = True,
    ) -> None:
        self.spec = spec
        self.address = address
        self.events: list[Event] = []
        self.deleted = False
        self._log_path = folder / f"{address}.log"
        self._log = self._log_path.open("ab")
        self._back_off, self._random_start = back_off, random_start
        self.containers = [Container(each, images[each.image], address, self._log) for each in spec.containers]
        self._kill: dict[Container, asyncio.Event] = {}
        self._kill_grace: dict[Container, float] = {}
        self._workers: list[Worker] = []
        self._asking: list[asyncio.Task[None]] = []
        self._keeping: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether it gets traffic as far as its probes say: what ends is not ready for a Service in any case."""
        return all(each.ready for each in self.containers)

    @property
    def restarts(self) -> int:
        """Of its containers together."""
        return sum(each.restarts for each in self.containers)

    @property
    def log(self) -> str:
        """What its containers have written so far."""
        return self._log_path.read_text(errors="replace")

    def answers(self, kind: str) -> int:
        """Return how many answers probes of *kind* have got."""
        return sum(worker.answers for worker in self._workers if worker.kind == kind)

    def unhealthy(self, kind: str) -> list[str]:
        """Return what was said against it by probes of *kind*."""
        return [event.words for event in self.events if event.reason == "Unhealthy" and event.words.startswith(kind)]

    def times(self, reason: str) -> list[float]:
        """Return when *reason* happened."""
        return [event.at for event in self.events if event.reason == reason]

    def start(self) -> None:
        """Start its containers, and ask their probes."""
        for container in self.containers:
            self._kill[container] = asyncio.Event()
            for kind in container.spec.probes:
                self._workers.append(Worker(kind, container, self._ask, self._decided, self._observed))
        self._keeping = [asyncio.create_task(self._keep(each)) for each in self.containers]
        self._asking = [asyncio.create_task(each.run(random_start=self._random_start)) for each in self._workers]

    async def delete(self) -> None:
        """End it: liveness and startup are asked no more, readiness is; SIGTERM comes at once, to sidecars at last."""
        self.deleted = True
        self._tell("Deleted")
        for worker, task in zip(self._workers, self._asking, strict=True):
            if worker.kind != "readiness":
                task.cancel()
        for container, kill in self._kill.items():
            self._kill_grace[container] = self.spec.grace_seconds
            kill.set()
        await asyncio.gather(*self._keeping)
        await self.end()
        self._tell("Gone")

    async def end(self) -> None:
        """Leave nothing of it, at once."""
        await _cancelled(*self._asking, *self._keeping)
        for container in self.containers:
            container.kill()
        self._log.close()

    async def _ask(self, spec: ProbeSpec) -> Found:
        return await probe(spec.get, self.address, spec.timeout_seconds)

    async def _keep(self, container: Container) -> None:
        kill = self._kill[container]
        while not self.deleted and not self._may_start(container):
            await asyncio.sleep(_LOOK_SECONDS)
        while not self.deleted:
            self._launch(container)
            ended = asyncio.create_task(container.ended())
            killed = asyncio.create_task(kill.wait())
            try:
                await asyncio.wait([ended, killed], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(ended, killed)
            if kill.is_set():
                self._tell("Killing", container.spec.name)
                await container.stop(self._kill_grace[container], lambda: self._may_end(container))
            self._no_longer_ready(container)
            if self.deleted:
                return
            kill.clear()
            self._tell("Ended", container.spec.name)
            await self._wait(kill, self._back_off.seconds(container.restarts))

    def _may_start(self, container: Container) -> bool:
        """Return whether every sidecar before it has started for good."""
        before = self.containers[: self.containers.index(container)]
        return all(each.started for each in before if each.spec.sidecar)

    def _may_end(self, container: Container) -> bool:
        """Return whether it is its turn: a sidecar of a pod that ends is the last, and the first of them ends last."""
        if not self.deleted or not container.spec.sidecar:
            return True
        return not any(each.running for each in self.containers[self.containers.index(container) + 1 :])

    def _launch(self, container: Container) -> None:
        container.start()
        self._tell("Started", container.spec.name)
        if container.ready:
            self._tell("Ready", container.spec.name)

    async def _wait(self, kill: asyncio.Event, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not kill.is_set():
            await asyncio.sleep(_LOOK_SECONDS)

    def _no_longer_ready(self, container: Container) -> None:
        was = container.ready
        container.kill()
        if was:
            self._tell("NotReady", container.spec.name)

    def _observed(self, worker: Worker, found: Found) -> None:
        if found.outcome is Outcome.WARNING:
            self._tell("ProbeWarning", f"{worker.kind}: {found.message}")
        elif not found.succeeded:
            self._tell("Unhealthy", f"{worker.kind}: {found.message}")

    def _decided(self, worker: Worker, found: Found) -> None:
        container = worker.container
        if worker.kind == "readiness":
            if found.succeeded is not container.ready:
                container.ready = found.succeeded
                self._tell("Ready" if found.succeeded else "NotReady", container.spec.name)
        elif not found.succeeded:
            own = worker.spec.grace_seconds
            self._kill_grace[container] = self.spec.grace_seconds if own is None else own
            self._tell("Condemned", f"{worker.kind}: {found.message}")
            self._kill[container].set()
        elif worker.kind == "startup":
            container.started = True
            self._tell("StartupOver", container.spec.name)
            self._started(container)

    def _started(self, container: Container) -> None:
        if "readiness" not in container.spec.probes:
            container.ready = True
            self._tell("Ready", container.spec.name)
        for worker in self._workers:
            if worker.container is container and worker.kind == "readiness":
                worker.ask_at_once()

    def _tell(self, reason: str, words: str = "") -> None:
        self.events.append(Event(time.monotonic(), reason, words))


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
