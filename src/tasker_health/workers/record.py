"""What a worker works on, as its engine tells it: by the beginning and the end of each task, in whatever thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tasker_health.workers import MOST_RUNNING, RunningTask
from tasker_health.workers.attachment import Work


class _Begun(NamedTuple):
    """A task that runs, and when it began by the monotonic clock."""

    id: str
    name: str
    queue: str | None
    at: float


class WorkRecord:
    """Counts what begins and ends; safe to be used in several threads, and cheap: two short locks for each task.

    Args:
        monotonic: The clock that everything is measured by.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: dict[object, _Begun] = {}
        self._done = self._failed = 0
        self._busy_at = monotonic()

    def begin(self, key: object, id: str, name: str, queue: str | None = None) -> None:  # noqa: A002 -- the wire's word
        """Note that a task begins.

        Args:
            key: What it will be ended by: one run, where an engine may run a task of the same *id* twice.
            id: The engine's own.
            name: Of its handler.
            queue: Where it came from.
        """
        with self._lock:
            self._running[key] = _Begun(id, name, queue, self._monotonic())

    def end(self, key: object, *, failed: bool = False) -> None:
        """Note that the task *key* has ended; one that is not known is nothing."""
        with self._lock:
            if self._running.pop(key, None) is None:
                return
            self._busy_at = self._monotonic()
            if failed:
                self._failed += 1
            else:
                self._done += 1

    def work(self, lag_seconds: float = 0.0) -> Work:
        """Return what is worked on now."""
        with self._lock:
            running = list(self._running.values())
            done, failed, busy_at = self._done, self._failed, self._busy_at
        now = self._monotonic()
        running.sort(key=lambda each: each.at)
        return Work(
            running=tuple(
                RunningTask(each.id, each.name, each.queue, max(0.0, now - each.at)) for each in running[:MOST_RUNNING]
            ),
            running_count=len(running),
            done=done,
            failed=failed,
            idle_seconds=0.0 if running else max(0.0, now - busy_at),
            lag_seconds=lag_seconds,
        )

    def forget(self) -> None:
        """Begin anew in a process that was forked: what runs is the parent's, and so may be the lock."""
        self._lock = threading.Lock()
        self._running = {}
        self._done = self._failed = 0
        self._busy_at = self._monotonic()
