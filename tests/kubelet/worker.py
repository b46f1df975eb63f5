"""One probe of one container, asked for as long as the pod is there (Kubernetes: pkg/kubelet/prober, worker)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

from kubelet.container import Container
from kubelet.http_get import Found, Outcome
from kubelet.manifest import ProbeSpec

Ask = Callable[[ProbeSpec], Awaitable[Found]]
Tell = Callable[["Worker", Found], None]


class Worker:
    """Asks a probe each period and counts what it is answered.

    Args:
        kind: `startup`, `readiness` or `liveness`.
        container: Whom it asks about; each start of it begins anew.
        ask: Asks once.
        decided: Told once a threshold is reached: so many successes or failures in a row.
        observed: Told of each answer.

    Attributes:
        found: The last answer.
        answers: How many there were.
    """

    def __init__(self, kind: str, container: Container, ask: Ask, decided: Tell, observed: Tell) -> None:
        self.kind = kind
        self.container = container
        self.spec = container.spec.probes[kind]
        self.found: Found | None = None
        self.answers = 0
        self._ask, self._decided, self._observed = ask, decided, observed
        self._at_once = asyncio.Event()
        self._number = 0
        self._on_hold = False
        self._last: bool | None = None
        self._run = 0

    def ask_at_once(self) -> None:
        """Do not wait for the rest of the period."""
        self._at_once.set()

    async def run(self, *, random_start: bool) -> None:
        """Ask for ever.

        Args:
            random_start: Wait for a part of the first period, as a kubelet does that has itself just started.
        """
        period = self.spec.period_seconds
        if random_start:
            await asyncio.sleep(random.random() * period)
        due = time.monotonic()
        while True:
            await self.ask_if_due()
            due += period
            missed = time.monotonic() - due
            if missed > period:  # of several ticks that were missed one is made up for
                due += missed // period * period
            await self._wait(due - time.monotonic())

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_once.wait(), max(0, seconds))
        self._at_once.clear()

    async def ask_if_due(self) -> None:
        """Ask, unless it is not the time: before the delay, before the start is over, while it is being killed."""
        if self.container.number != self._number:
            self._number, self._on_hold = self.container.number, False
        if self._on_hold or not self.container.running:
            return
        if time.monotonic() - self.container.started_at < self.spec.initial_delay_seconds:
            return
        if self.container.started is (self.kind == "startup"):
            return
        number = self.container.number
        self.found = await self._ask(self.spec)
        if number == self.container.number:
            self.answers += 1
            self._observed(self, self.found)
            self._count(self.found)

    def _count(self, found: Found) -> None:
        if found.outcome is Outcome.UNKNOWN:
            return
        self._run = self._run + 1 if found.succeeded is self._last else 1
        self._last = found.succeeded
        threshold = self.spec.success_threshold if found.succeeded else self.spec.failure_threshold
        if self._run < threshold:
            return
        if self.kind != "readiness" and not found.succeeded:
            self._on_hold, self._run = True, 0
        self._decided(self, found)
