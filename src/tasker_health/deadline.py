"""Waiting that ends: for a task, and for a call that only blocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 16
"""How many threads of one name may be running: a call that hangs in each of them costs no more than that."""

_running: Counter[str] = Counter()
_lock = threading.Lock()


async def within(awaitable: Awaitable[T], seconds: float) -> T:
    """Return what *awaitable* answers within *seconds*; if it does not, cancel it without waiting for that.

    Raises:
        TimeoutError: It did not answer in time.
        RuntimeError: It cancelled itself, or raised what would end the application, such as `SystemExit`.
    """
    given_up = False

    async def contained() -> T:
        try:
            return await awaitable
        except Exception:
            raise
        except BaseException as error:
            # One that does not let itself be cancelled is collected some day, with whatever it waits for.
            if given_up and isinstance(error, asyncio.CancelledError | GeneratorExit):
                raise
            raise RuntimeError(f"it raised {type(error).__name__}") from None

    task = asyncio.ensure_future(contained())
    task.add_done_callback(retrieve)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        given_up = True
        task.cancel()
        raise
    if not done:
        given_up = True
        task.cancel()
        raise TimeoutError
    return task.result()


class Wait:
    """A wait that ends, and tells whether the event loop had turns enough to notice what it waited for.

    Attributes:
        late_seconds: By how much its pieces ended late, altogether.
        seconds: How long it has waited.
    """

    _PIECE_SECONDS = 0.1

    def __init__(self) -> None:
        self.late_seconds: float = 0.0
        self.seconds: float = 0.0

    @property
    def was_starved(self) -> bool:
        """Whether the loop was away for a tenth of the time: busy threads leave it a turn every 40 ms or so."""
        return self.late_seconds > self.seconds / 10

    async def until(self, ends_at: float, future: asyncio.Future[Any]) -> bool:
        """Wait for *future* until *ends_at*, by the clock of the loop; return whether it is done."""
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        while not future.done() and now < ends_at:
            piece_ends_at = min(now + self._PIECE_SECONDS, ends_at)
            await asyncio.wait({future}, timeout=piece_ends_at - now)
            now = loop.time()
            self.late_seconds += max(0.0, now - piece_ends_at)
            self.seconds = now - began
        return future.done()


def in_thread(call: Callable[[], T], name: str, running: Counter[str] | None = None) -> asyncio.Future[T]:
    """Return a future of what *call* answers, called in a daemon thread of its own.

    A shared pool would let one hung call hold up everybody else's, and the interpreter's exit.

    Args:
        call: What only blocks.
        name: Of the thread.
        running: Where threads are counted by name; `None`: with all others of the process.

    Raises:
        TimeoutError: So many threads of this *name* have not returned that another one would not either.
    """
    running = _running if running is None else running
    if running[name] >= MOST_THREADS:
        raise TimeoutError(f"{MOST_THREADS} calls of {name} have not returned")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(outcome: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(outcome)  # type: ignore[arg-type]
        else:
            # A future takes no StopIteration, and SystemExit would end the application.
            answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def run() -> None:
        try:
            outcome, error = call(), None
        except BaseException as raised:  # noqa: BLE001 -- handed to the asker, whatever it is
            outcome, error = None, raised
        finally:
            with _lock:
                running[name] -= 1
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, outcome, error)

    with _lock:
        running[name] += 1
    try:
        threading.Thread(target=run, name=f"tasker-health-{name}", daemon=True).start()
    except BaseException:  # the machine has no thread left, or no memory for one
        with _lock:
            running[name] -= 1
        raise
    return answer


def leave_to_parent(thing: object) -> None:
    """Keep *thing*, which the process that this one was forked from uses: were it collected, it would be closed."""
    _of_the_parent.append(thing)


_of_the_parent: list[object] = []


def _begin_anew() -> None:
    """Forget, in a child, the threads of its parent: they are not here, and one of them may have held the lock."""
    global _lock  # noqa: PLW0603 -- a lock cannot be taken from a thread that is not there
    _lock = threading.Lock()
    _running.clear()


os.register_at_fork(after_in_child=_begin_anew)


def retrieve(task: asyncio.Future[Any]) -> None:
    """Take the exception of *task*, for when every asker has left; those who stayed get it too."""
    if not task.cancelled():
        task.exception()
