"""The way into the asynchronous core for threads that have no event loop: one loop, in a thread of its own.

Nothing is written twice for them: they hand over what shall be awaited and wait for its answer, for as long as they
have patience. The loop begins at first use and ends with the process. A process that is forked gets one of its own:
the thread is not there, and what the parent's loop holds (its selector, its connections) is the parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from tasker_health.deadline import leave_to_parent
from tasker_health.loop_thread import GOODBYE_SECONDS, LoopThread, Make
from tasker_health.settings import Settings
from tasker_health.termination import Termination

T = TypeVar("T")
Hook = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.1
"""How much longer than the deadline of an answer its asker waits: what gives up there has something to say."""

_BEGINNING_SECONDS = 10.0
"""Longest wait for the guard, which has three seconds to open."""


class Bridge:
    """One event loop in a daemon thread.

    Args:
        start: Awaited on the loop before anything else.
        stop: Awaited on the loop at the end.
        drain: Awaited when the server is told to stop.
        forked: Called in a child of the process in which the loop ran, to forget what is the parent's.
        settings: How long readiness may take: a loop that has not come to a call by then is stalled; and the drain.
    """

    def __init__(
        self,
        *,
        start: Hook,
        stop: Hook,
        drain: Hook,
        forked: Callable[[], None],
        settings: Settings,
    ) -> None:
        self._start, self._stop, self._drain, self._forked = start, stop, drain, forked
        self._begins_within_seconds = settings.health.readiness_timeout_seconds + GRACE_SECONDS
        self._termination = Termination.of(settings)
        self._lock = threading.Lock()
        self._running: LoopThread | None = None
        self._at_end: Callable[[], None] = lambda: None
        _bridges.add(self)

    @property
    def begun(self) -> bool:
        """Whether the loop runs in this process."""
        return self._running is not None

    def begin(self) -> None:
        """Start the loop unless it runs, and wait for nothing; what goes wrong is logged."""
        if self._running is None:
            self._begin().add_done_callback(_tell)

    def start(self) -> None:
        """Start the loop unless it runs, and return when it has started.

        In the main thread, where the server handles SIGTERM, it is drained before the server gets that.

        Raises:
            ConfigurationError: The port of the guard cannot be had.
            TimeoutError: It took too long.
        """
        self._begin().result(_BEGINNING_SECONDS)

    def call(self, make: Make[T], patience_seconds: float) -> T:
        """Return what the coroutine that *make* returns answers on the loop.

        Raises:
            TimeoutError: It did not within *patience_seconds*, or the loop is stalled.
        """
        self.begin()
        running = self._running
        if running is None or running.given_up:
            # The loop has not come to an earlier call yet: one asker has waited for it, which is enough.
            raise TimeoutError("the event loop is stalled")
        return running.call(make, patience_seconds, self._begins_within_seconds)

    def stop(self) -> None:
        """Stop and end the thread; the next question begins anew."""
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return
        self._at_end()
        if self._termination is not None:
            self._termination.leave()
        with contextlib.suppress(Exception):
            running.call(self._stop, GOODBYE_SECONDS, GOODBYE_SECONDS)
        running.end()

    def forget(self) -> None:
        """Leave the loop to the parent of this process."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        running, self._running = self._running, None
        if running is not None:
            leave_to_parent(running)
            self._forked()

    def _begin(self) -> Future[None]:
        with self._lock:
            if self._running is None:
                running = self._running = LoopThread()
                weakref.finalize(self, running.end_soon).atexit = False
                self._at_end = _at_end_of_a_child()
                running.started = running.post(self._start)
                if self._termination is not None:
                    self._termination.watch(self._drain, running.loop)
            return self._running.started


def _tell(started: Future[None]) -> None:
    error = started.exception()
    if error is not None:
        log.error("the start has failed: %s", error)


_bridges: weakref.WeakSet[Bridge] = weakref.WeakSet()


def _forget_all() -> None:
    for bridge in list(_bridges):
        bridge.forget()


def _stop_all() -> None:
    for bridge in list(_bridges):
        bridge.stop()


def _at_end_of_a_child() -> Callable[[], None]:
    """Have a process of `multiprocessing`, such as a worker of granian's, stop too; return what takes that back.

    It ends without a call of what `atexit` holds.
    """
    util = sys.modules.get("multiprocessing.util")
    return util.Finalize(None, _stop_all, exitpriority=0).cancel if util is not None else lambda: None


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_stop_all)
