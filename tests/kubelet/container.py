"""One container: a process that is started, asked to end, killed, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from kubelet.manifest import ContainerSpec

LEAST_GRACE_SECONDS = 2
"""What is left after `preStop` at least."""

_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Image:
    """What runs in a container: words and further variables, both made for the address of its pod."""

    words: Callable[[str], Sequence[str]]
    environment: Callable[[str], dict[str, str]]


class Container:
    """A container of a pod.

    Args:
        spec: What the manifest says of it.
        image: What runs in it.
        address: Of its pod.
        log: Where it writes to.

    Attributes:
        number: How often it was started.
        started_at: When it was last, by the monotonic clock.
        started: Whether it has started for good: its startup probe has succeeded, or it has none.
        ready: What its readiness probe says.
        killed: How often it had to be killed after its grace.
    """

    def __init__(self, spec: ContainerSpec, image: Image, address: str, log: IO[bytes]) -> None:
        self.spec = spec
        self.number = 0
        self.started_at = 0.0
        self.started = False
        self.ready = False
        self.killed = 0
        self._image, self._address, self._log = image, address, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.number - 1)

    @property
    def running(self) -> bool:
        """Whether its first process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it: not ready, and started for good at once where nothing asks."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        told = {name: self._address if value is None else value for name, value in self.spec.environment.items()}
        self._process = subprocess.Popen(
            list(self._image.words(self._address)),
            env=kept | told | self._image.environment(self._address),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.number += 1
        self.started_at = time.monotonic()
        self.started = "startup" not in self.spec.probes
        self.ready = self.started and "readiness" not in self.spec.probes

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        while self.running:
            await asyncio.sleep(_LOOK_SECONDS)
        self.kill()

    async def stop(self, grace_seconds: float, turn: Callable[[], bool] = lambda: True) -> None:
        """Run `preStop`, wait for its *turn*, send SIGTERM, and kill it when *grace_seconds* are over all in all."""
        began = time.monotonic()
        hook = None
        if self.spec.pre_stop is not None and grace_seconds > 0:
            hook = asyncio.create_task(self._pre_stop())
            await asyncio.wait([hook], timeout=grace_seconds)
        while not turn() and time.monotonic() - began < grace_seconds:
            await asyncio.sleep(_LOOK_SECONDS)
        left = max(LEAST_GRACE_SECONDS, grace_seconds - (time.monotonic() - began))
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), left)
        self.killed += self.running
        self.kill()
        if hook is not None:
            hook.cancel()

    def kill(self) -> None:
        """End every process of it, as the end of the first one does in a container."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.ready = self.started = False

    async def _pre_stop(self) -> None:
        hook = self.spec.pre_stop
        assert hook is not None
        if hook.command:
            process = subprocess.Popen(hook.command, stdout=self._log, stderr=self._log)
            try:
                while process.poll() is None:
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                process.kill()
                process.wait()
        await asyncio.sleep(hook.sleep_seconds)
