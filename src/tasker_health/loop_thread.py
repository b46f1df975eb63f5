"""An event loop in a thread of its own, and what other threads hand over to it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Make = Callable[[], Coroutine[Any, Any, T]]

GOODBYE_SECONDS = 2.0
"""Longest wait for a loop to end."""


class LoopThread:
    """An event loop and its thread.

    Attributes:
        given_up: Calls that nobody waits for any more and that the loop has not come to.
        started: When what comes first is done.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.given_up: set[_Call[Any]] = set()
        self.started: Future[None]
        self._thread = threading.Thread(target=_run, args=(self.loop,), name="tasker-health-bridge", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the machine has no thread left
            self.loop.close()
            raise

    def post(self, make: Make[T]) -> Future[T]:
        """Return the future of what *make* answers, called on the loop."""
        call = _Call(make)
        self.loop.call_soon_threadsafe(self._begin, call)
        return call.answer

    def call(self, make: Make[T], patience_seconds: float, begins_within_seconds: float) -> T:
        """Return what *make* answers.

        Args:
            make: Makes the coroutine.
            patience_seconds: Longest wait for the answer.
            begins_within_seconds: Longest wait for the loop to come to it.

        Raises:
            TimeoutError: It did not, or the loop is stalled.
        """
        ends_at = time.monotonic() + patience_seconds
        call = _Call(make)
        self.loop.call_soon_threadsafe(self._begin, call)
        with contextlib.suppress(TimeoutError):
            return call.result(min(patience_seconds, begins_within_seconds))
        self.given_up.add(call)
        if call.answer.cancel():
            raise TimeoutError("the event loop is stalled")
        self.given_up.discard(call)  # it had begun
        with contextlib.suppress(TimeoutError):
            return call.result(ends_at - time.monotonic())
        self.loop.call_soon_threadsafe(call.cancel)
        raise TimeoutError(f"no answer within {patience_seconds:.3f} s")

    def end(self) -> None:
        """End the thread, unless something holds it up."""
        self.end_soon()
        if threading.current_thread() is not self._thread:
            self._thread.join(GOODBYE_SECONDS)

    def end_soon(self) -> None:
        """Have the thread end."""
        with contextlib.suppress(RuntimeError):  # it has
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _begin(self, call: _Call[Any]) -> None:
        if not call.begin(self.loop):
            self.given_up.discard(call)


class _Call(Generic[T]):
    """A coroutine on the loop, and the answer that a thread waits for."""

    def __init__(self, make: Make[T]) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self.answer: Future[T] = Future()

    def begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Begin, unless nobody waits any more; return whether somebody did."""
        if not self.answer.set_running_or_notify_cancel():
            return False
        self._task = loop.create_task(self._run())
        return True

    def result(self, seconds: float) -> T:
        """Return the answer.

        Raises:
            TimeoutError: There is none within *seconds*.
        """
        try:
            return self.answer.result(max(seconds, 0))
        except TimeoutError as error:
            if self.answer.done() and self.answer.exception() is error:
                raise RuntimeError("it raised TimeoutError") from error  # its own, not ours
            raise

    def cancel(self) -> None:
        """End it; called on the loop."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            answer = await self._make()
        except asyncio.CancelledError:
            self.answer.set_exception(RuntimeError("it was cancelled"))
            raise
        except BaseException as error:  # noqa: BLE001 -- handed to the asker: in a task SystemExit would end the loop
            self.answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        else:
            self.answer.set_result(answer)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run *loop* until it is stopped, and end what it has begun."""
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=GOODBYE_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
