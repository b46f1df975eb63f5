"""Single flight: one run that many askers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tasker_health.deadline import leave_to_parent, retrieve

T = TypeVar("T")


class RunEndedError(Exception):
    """A shared run was ended while somebody waited for it: what it belongs to was stopped."""


class SingleFlight(Generic[T]):
    """Lets many askers share one run.

    The run is a task of its own: an asker that leaves cancels nothing for the others.
    """

    def __init__(self, run: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._run = run
        self._task: asyncio.Task[T] | None = None

    @property
    def in_flight(self) -> bool:
        """Whether a run is under way."""
        return self._task is not None and not self._task.done()

    async def __call__(self, patience_seconds: float | None = None) -> T:
        """Return the answer of the run under way, starting one if there is none.

        Raises:
            TimeoutError: It took longer than *patience_seconds*; it goes on.
            RunEndedError: It was ended by `cancel`.
        """
        task = self.start()
        done, _ = await asyncio.wait({task}, timeout=patience_seconds)
        if not done:
            raise TimeoutError
        if task.cancelled():
            raise RunEndedError
        return task.result()

    def start(self) -> asyncio.Task[T]:
        """Return the run under way, starting one if there is none, without waiting for it."""
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.get_running_loop().create_task(self._run())
            task.add_done_callback(retrieve)
        return task

    def forget(self) -> None:
        """Leave the run under way to the process that this one was forked from."""
        leave_to_parent(self._task)
        self._task = None

    async def cancel(self) -> None:
        """End the run under way, if any, and wait until it has ended."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1)
