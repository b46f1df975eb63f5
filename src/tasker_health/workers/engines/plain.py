"""Joins a loop of one's own: what runs is told by whoever runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasker_health.workers.attachment import Identity, Life, Work
from tasker_health.workers.record import WorkRecord


class PlainAttachment:
    """A worker that says itself what it works on.

    Args:
        waiting: Answers how much work it could take now; `None`: nobody knows, so it is never wedged by that.
    """

    engine = "plain"

    def __init__(self, waiting: Callable[[], int | None] | None = None) -> None:
        self._record = WorkRecord()
        self._waiting = waiting

    def attach(self, life: Life) -> None:
        """Begin at once, on the event loop that runs, if any."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        life.begin(loop)

    def identity(self) -> Identity:
        """Return nothing: the user says who it is."""
        return Identity()

    def observe(self) -> Work:
        """Return what was said to run."""
        return self._record.work()

    def waiting(self) -> int | None:
        """Return what the user says."""
        return None if self._waiting is None else self._waiting()

    @contextmanager
    def task(self, id: str, name: str, queue: str | None) -> Iterator[None]:  # noqa: A002 -- the wire's word
        """Note that a task runs, and how it ends."""
        key = object()
        self._record.begin(key, id, name, queue)
        failed = True
        try:
            yield
            failed = False
        finally:
            self._record.end(key, failed=failed)
