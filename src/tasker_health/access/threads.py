"""Threads for what only blocks: a few at a time, and whoever comes while all are busy waits for one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakKeyDictionary

from tasker_health.access.turns import BusyError
from tasker_health.deadline import MOST_THREADS, in_thread

T = TypeVar("T")

PATIENCE_SECONDS: ContextVar[float] = ContextVar("PATIENCE_SECONDS", default=1.0)
"""Longest wait for a thread: less than the deadline of what is called in it."""


def _semaphores() -> defaultdict[str, asyncio.Semaphore]:
    return defaultdict(lambda: asyncio.Semaphore(MOST_THREADS))


# By event loop: a semaphore on which somebody has waited belongs to one, and what has ended with it is given up.
_free: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, asyncio.Semaphore]] = WeakKeyDictionary()


async def in_free_thread(call: Callable[[], T], name: str) -> T:
    """Return what *call* answers in a thread, once one of this *name* is free: many callers are no fault of anybody's.

    Raises:
        BusyError: None was free in time.
    """
    free = _free.setdefault(asyncio.get_running_loop(), _semaphores())[name]
    try:
        await asyncio.wait_for(free.acquire(), PATIENCE_SECONDS.get())
    except TimeoutError:
        raise BusyError from None
    try:
        answer = in_thread(call, name)
    except TimeoutError:  # those of another event loop have not returned
        free.release()
        raise BusyError from None
    except BaseException:
        free.release()
        raise
    answer.add_done_callback(lambda _: free.release())
    return await asyncio.shield(answer)
