"""Threads for what only blocks: a few at a time, and whoever comes while all are busy waits for one."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakKeyDictionary

from tasker_health.access.turns import BusyError
from tasker_health.deadline import MOST_THREADS, in_thread

T = TypeVar("T")

PATIENCE_SECONDS: ContextVar[float] = ContextVar("PATIENCE_SECONDS", default=1.0)
"""Longest wait for a thread: less than the deadline of what is called in it."""


class Threads:
    """The threads of one gate: another gate of the same process has its own, however many of these hang."""

    def __init__(self) -> None:
        self._pid: int = os.getpid()
        self._running: Counter[str] = Counter()
        # By event loop: a semaphore on which somebody has waited belongs to one; what has ended with it is given up.
        self._free: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()

    def free(self, name: str) -> asyncio.Semaphore:
        """Return what is acquired before a thread of this *name* is begun on the running loop."""
        of_loop = self._free.setdefault(asyncio.get_running_loop(), {})
        return of_loop.setdefault(name, asyncio.Semaphore(MOST_THREADS))

    @property
    def running(self) -> Counter[str]:
        """How many there are of each name in this process: those of a parent are not in a forked child."""
        if self._pid != os.getpid():
            self._pid, self._running = os.getpid(), Counter()
        return self._running


_OF_NO_GATE = Threads()

THREADS: ContextVar[Threads] = ContextVar("THREADS", default=_OF_NO_GATE)
"""Of the gate that is asking; who asks a coordinator without one shares with all who do."""


async def in_free_thread(call: Callable[[], T], name: str) -> T:
    """Return what *call* answers in a thread, once one of this *name* is free: many callers are no fault of anybody's.

    Raises:
        BusyError: None was free in time.
    """
    threads = THREADS.get()
    free = threads.free(name)
    try:
        await asyncio.wait_for(free.acquire(), PATIENCE_SECONDS.get())
    except TimeoutError:
        raise BusyError from None
    try:
        answer = in_thread(call, name, threads.running)
    except TimeoutError:  # those of another event loop have not returned
        free.release()
        raise BusyError from None
    except BaseException:
        free.release()
        raise
    answer.add_done_callback(lambda _: free.release())
    return await asyncio.shield(answer)
