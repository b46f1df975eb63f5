"""Turns at work that is slow on purpose, such as verifying a password: few at once, and none for one caller alone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import ExitStack

from tasker_health.clock import Clock, SystemClock

MOST_AT_ONCE = 2
"""How many have a turn at the same time: each costs a processor and 16 MiB."""

_SUSPECTED_SECONDS = 60.0
_MOST_SUSPECTS = 4096
_MOST_OF_ONE_ADDRESS = 16
"""How many of one address may wait; more would only be kept in memory until they have waited in vain."""


class BusyError(Exception):
    """There was no turn in time: too many callers at once, which is the fault of nobody who is asked."""


class _Queue:
    """Those of one address, who come one after the other."""

    __slots__ = ("length", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


class Turns:
    """Gives turns, so that a flood from one address keeps nobody else out.

    One address has one turn at a time. All those that failed within the last minute have one among them: the other one
    is left for whoever did not.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._failed_at: OrderedDict[str, float] = OrderedDict()
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Have every turn free on *loop*: those of an earlier one have ended with it."""
        self._loop = loop
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._turns_of_suspects = asyncio.Semaphore(MOST_AT_ONCE - 1)
        self._queues: dict[str, _Queue] = {}

    def failed(self, address: str) -> None:
        """Suspect *address* for a minute."""
        self._failed_at[address] = self._clock.monotonic()
        self._failed_at.move_to_end(address)
        if len(self._failed_at) > _MOST_SUSPECTS:
            self._failed_at.popitem(last=False)

    def suspects(self, address: str) -> bool:
        """Return whether *address* failed within the last minute."""
        failed_at = self._failed_at.get(address)
        return failed_at is not None and self._clock.monotonic() - failed_at < _SUSPECTED_SECONDS

    async def turn(self, address: str) -> ExitStack:
        """Return a turn for *address*, once there is one; close it when the work has ended.

        Raises:
            BusyError: Too many of this address wait already.
        """
        if self._loop is not asyncio.get_running_loop():
            self._begin(asyncio.get_running_loop())
        queue = self._queues.setdefault(address, _Queue())
        if queue.length >= _MOST_OF_ONE_ADDRESS:
            raise BusyError
        with ExitStack() as held:
            queue.length += 1
            held.callback(self._leave, address, queue)
            await queue.lock.acquire()
            held.callback(queue.lock.release)
            if self.suspects(address):
                await self._turns_of_suspects.acquire()
                held.callback(self._turns_of_suspects.release)
            await self._turns.acquire()
            held.callback(self._turns.release)
            return held.pop_all()

    def _leave(self, address: str, queue: _Queue) -> None:
        queue.length -= 1
        if not queue.length and self._queues.get(address) is queue:
            del self._queues[address]
