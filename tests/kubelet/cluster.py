"""A Deployment that runs: its pods, their Service and its clients, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import canary
from kubelet.container import Image
from kubelet.load import Load
from kubelet.manifest import DeploymentSpec
from kubelet.pod import BackOff, Pod
from kubelet.service import Service
from server import wait_until

T = TypeVar("T")
PATIENCE_SECONDS = 60
LAG_SECONDS = 1
"""How long after a pod has changed clients know of it at most."""

PAUSE_SECONDS = 0.02
_LOOK_SECONDS = 0.02


class Cluster:
    """One node, one Deployment, one Service.

    Pods have addresses of their own out of 127.0.0.0/8, and all of them the same ports, as pods have.

    Args:
        spec: The Deployment.
        images: What runs in its containers, by the name of the image.
        folder: Where the logs are kept.
        back_off: Before a container that has ended twice is started again.

    Attributes:
        pods: Those that are there, the oldest first; also those that are ending.
        service: As clients see it.
    """

    def __init__(
        self, spec: DeploymentSpec, images: Mapping[str, Image], folder: Path, back_off: BackOff | None = None
    ) -> None:
        self.spec = spec
        self.pods: list[Pod] = []
        self.gone: list[Pod] = []
        self.service = Service(lambda: list(self.pods), LAG_SECONDS)
        self._images, self._folder, self._back_off = images, folder, back_off or BackOff()
        self._network = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self._hosts = iter(range(2, 250))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, what: Coroutine[Any, Any, T], seconds: float = PATIENCE_SECONDS) -> T:
        """Return what *what* returns in the thread of the cluster."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(seconds)

    def wait_ready(self, count: int | None = None) -> None:
        """Wait until so many pods get traffic; all, if it is not said."""
        wanted = self.spec.replicas if count is None else count
        wait_until(lambda: len(self.service.endpoints) == wanted, f"{wanted} endpoints: {self.told()}")

    def told(self) -> str:
        """Return events and logs, for a message."""
        lines = [
            f"{event.at:.2f} {pod.address} {event.reason} {event.words}" for pod in self.all for event in pod.events
        ]
        return "\n".join([*sorted(lines), *(pod.log[-1500:] for pod in self.all)])

    @property
    def all(self) -> list[Pod]:
        """Every pod that there ever was."""
        return [*self.gone, *self.pods]

    @contextlib.contextmanager
    def load(
        self, port: int, path: str, *, keeping: int = 4, opening: int = 2, timeout_seconds: float = 15
    ) -> Iterator[Load]:
        """Have clients ask *path* until the block ends."""
        load = Load(self.service, port, path, PAUSE_SECONDS, timeout_seconds)
        task = self.run(self._begin(load.run(keeping=keeping, opening=opening)))
        try:
            yield load
        finally:
            self.run(_ended(task))

    async def roll_out(self, images: Mapping[str, Image] | None = None) -> None:
        """Replace every pod: as many more at a time as `maxSurge` says, and as many fewer as `maxUnavailable` does.

        A pod that was told to end counts no more, so its end is not waited for.
        """
        self._images = images or self._images
        old, ending = list(self.pods), []
        new: list[Pod] = []
        while old or len(new) < self.spec.replicas:
            available = sum(self._available(each) for each in (*old, *new))
            while old and (available > self.spec.replicas - self.spec.max_unavailable or not self._available(old[0])):
                available -= self._available(old[0])
                ending.append(asyncio.create_task(self._remove(old.pop(0))))
            while len(new) < self.spec.replicas and len(old) + len(new) < self.spec.replicas + self.spec.max_surge:
                new.append(self._new_pod())
            await asyncio.sleep(_LOOK_SECONDS)
        while not all(map(self._available, new)):
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.gather(*ending)

    def _available(self, pod: Pod) -> bool:
        if not pod.ready:
            return False
        return self._loop.time() - pod.times("Ready")[-1] >= self.spec.min_ready_seconds

    def _new_pod(self) -> Pod:
        address = f"{self._network}.{next(self._hosts)}"
        pod = Pod(self.spec, self._images, address, self._folder, self._back_off)
        self.pods.append(pod)
        pod.start()
        return pod

    async def _remove(self, pod: Pod) -> None:
        await pod.delete()
        self.pods.remove(pod)
        self.gone.append(pod)

    async def _begin(self, what: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._tasks.append(asyncio.create_task(what))
        return self._tasks[-1]

    async def _start(self) -> None:
        await self._begin(self.service.follow())
        for _ in range(self.spec.replicas):
            self._new_pod()

    async def _end(self) -> None:
        for task in self._tasks:
            await _ended(task)
        for pod in self.pods:
            await pod.end()

    def __enter__(self):
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_):
        try:
            self.run(self._end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE_SECONDS)
            self._loop.close()
        for pod in self.all:
            canary.look("the log of a pod", pod.log)


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        raise task.exception()
