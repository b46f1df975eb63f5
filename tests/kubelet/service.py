"""A Service as its clients see it: some address of a pod that is ready, as far as that has come round."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from kubelet.pod import Pod

_LOOK_SECONDS = 0.02


class NoEndpointsError(ConnectionRefusedError):
    """No pod is ready: kube-proxy refuses the connection."""

    def __init__(self) -> None:
        super().__init__("the Service has no endpoints")


class Service:
    """The endpoints of the pods that *pods* returns, round robin, one choice for each connection.

    What a pod has become is known after up to *lag_seconds*: a pod that ends is asked for so long after its SIGTERM.

    Attributes:
        changes: When an address came in (true) or went out, by the monotonic clock.
    """

    def __init__(self, pods: Callable[[], Sequence[Pod]], lag_seconds: float) -> None:
        self.changes: list[tuple[float, str, bool]] = []
        self._pods, self._lag_seconds = pods, lag_seconds
        self._endpoints: list[str] = []
        self._due: dict[str, tuple[bool, float]] = {}
        self._next = 0

    @property
    def endpoints(self) -> list[str]:
        """The addresses that are chosen from."""
        return list(self._endpoints)

    def choose(self) -> str:
        """Return the next address.

        Raises:
            NoEndpointsError: There is none.
        """
        if not self._endpoints:
            raise NoEndpointsError
        self._next += 1
        return self._endpoints[self._next % len(self._endpoints)]

    async def follow(self) -> None:
        """Look at the pods for ever."""
        while True:
            self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        wanted = {pod.address for pod in self._pods() if pod.ready and not pod.deleted}
        for address in wanted.symmetric_difference(self._endpoints):
            comes = address in wanted
            if self._due.get(address, (not comes, 0))[0] is not comes:
                self._due[address] = comes, now + random.random() * self._lag_seconds
            if self._due[address][1] <= now:
                self._change(address, now, comes=comes)
        for address in wanted.intersection(self._endpoints):
            self._due.pop(address, None)

    def _change(self, address: str, now: float, *, comes: bool) -> None:
        del self._due[address]
        self.changes.append((now, address, comes))
        if comes:
            self._endpoints.append(address)
        else:
            self._endpoints.remove(address)
