"""When each request is asked.

Open loop: when a request is due is fixed before the run, whatever the server does, and its latency counts from then.
A client that waits for each answer before it asks again asks a stalled server once, and reports one slow answer where
many callers would have waited: coordinated omission (Gil Tene, "How NOT to Measure Latency"; wrk2's README,
"Acknowledgements", describes the same remedy). A closed loop is what `ab` does, and has that fault.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tasker_health.cli.load_test.plan import MOST_AT_ONCE, Plan
from tasker_health.cli.load_test.record import Outcome, Record, Times

Ask = Callable[[str, float], Awaitable[Outcome]]
"""Asks the endpoint of that name within so many seconds."""

_AFTER_A_FAULT_SECONDS = 0.1  # a closed loop would ask a server that refuses as fast as it can
_TICK_SECONDS = 0.02
_UNASKED_IN_A_ROW = 100


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose timers are not rounded up to whole milliseconds, as those of epoll are."""
    if not hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop()
    return asyncio.SelectorEventLoop(_Precise())


class _Precise(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Of all the files, only epoll's own is waited for here, so the number of them is no matter to select().
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], (), (), timeout)
            timeout = 0
        return super().select(timeout)


@dataclass
class Lag:
    """How late this client's own event loop was, in milliseconds; half of a slow answer may be that."""

    late_ms: array[float] = field(default_factory=lambda: array("d"))

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.late_ms.append((loop.time() - due) * 1000)


class Pace:
    """Asks one endpoint as *plan* says, and keeps in *record* what came.

    Args:
        plan: How often, how long.
        ask: Asks once.
        record: Where it is kept.
        began: The start, by the clock of the event loop, that all times count from.
        offset: What part of the time between two requests this endpoint's are later, so that not all ask at once.
    """

    def __init__(self, plan: Plan, ask: Ask, record: Record, began: float, offset: float = 0.0) -> None:
        self._plan = plan
        self._ask = ask
        self._record = record
        self._began = began
        self._offset = offset
        self._begun = 0
        self._under_way = 0
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        """Ask until the plan is carried out; when it is cancelled, what is under way is counted as unfinished."""
        try:
            async with asyncio.TaskGroup() as group:
                if self._plan.rate is not None:
                    await self._open(group, self._plan.rate)
                else:
                    for _ in range(self._plan.concurrency or 1):
                        group.create_task(self._ask_again_and_again())
        finally:
            self._record.unfinished += self._under_way

    async def _open(self, group: asyncio.TaskGroup, rate: float) -> None:
        loop = asyncio.get_running_loop()
        for number in range(self._plan.most_requests):
            due = self._began + (number + self._offset) / rate
            wait = due - loop.time()
            if wait > 0 or number % _UNASKED_IN_A_ROW == 0:
                await asyncio.sleep(max(wait, 0))
            if await self._slot_by(due + self._plan.timeout_seconds):
                group.create_task(self._ask_once(due))
            else:
                now = loop.time()
                self._keep(due, now, now, Outcome(0, "not_sent"))

    async def _slot_by(self, latest: float) -> bool:
        """Wait for one of the connections until *latest*; return whether there is one."""
        if not self._slots.locked():
            await self._slots.acquire()
            return True
        try:
            async with asyncio.timeout_at(latest):
                await self._slots.acquire()
        except TimeoutError:
            return False
        return True

    async def _ask_once(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        self._under_way += 1
        try:
            sent = loop.time()
            left = due + self._plan.timeout_seconds - sent
            outcome = await self._ask(self._record.endpoint, left) if left > 0 else Outcome(0, "not_sent")
            self._keep(due, sent, loop.time(), outcome)
            self._under_way -= 1
        finally:
            self._slots.release()

    async def _ask_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = self._began + self._plan.most_seconds
        while self._begun < self._plan.most_requests and (now := loop.time()) < ends_at:
            self._begun += 1
            self._under_way += 1
            outcome = await self._ask(self._record.endpoint, self._plan.timeout_seconds)
            self._keep(now, now, loop.time(), outcome)
            self._under_way -= 1
            if outcome.fault:
                await asyncio.sleep(_AFTER_A_FAULT_SECONDS)

    def _keep(self, due: float, sent: float, ended: float, outcome: Outcome) -> None:
        self._record.add(Times(due - self._began, sent - self._began, ended - self._began), outcome)
