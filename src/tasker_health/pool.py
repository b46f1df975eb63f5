"""Some lines to one database, and who gets the next one that is free.

The line used last is taken first, and a new one is made only when all others are busy: a process that asks one thing
at a time has one connection, however many it may have. Lines beyond one that nobody has needed for a while are closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from tasker_health.errors import DatabaseFault
from tasker_health.model import Reason

IDLE_SECONDS = 60
"""How long a line beyond one stays open unused: longer than most periods of probes."""


class Closable(Protocol):
    """What a pool holds."""

    async def close(self) -> None:
        """Give up what is open; it may be used again. Raises nothing, and ends soon."""


L = TypeVar("L", bound=Closable)


class PoolFigures(NamedTuple):
    """How many lines there may be, are there, and are in use; and how many wait for one."""

    size: int
    open: int
    busy: int
    waiting: int


class _Free(NamedTuple, Generic[L]):
    """A line that nobody uses, and since when on the monotonic clock."""

    line: L
    since: float


class Pool(Generic[L]):
    """Hands out lines, on one event loop.

    Args:
        make: Makes one; it connects at its first question.
        size: How many there may be.
        checkout_timeout_seconds: Longest wait for one to be free.

    Attributes:
        lines: All there are, free or not.
    """

    def __init__(self, make: Callable[[], L], size: int, checkout_timeout_seconds: float) -> None:
        self.lines: list[L] = []
        self._make = make
        self._size = size
        self._checkout_timeout_seconds = checkout_timeout_seconds
        self._places = asyncio.Semaphore(size)
        self._free: list[_Free[L]] = []
        self._waiting = 0
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def figures(self) -> PoolFigures:
        """How it is now."""
        return PoolFigures(self._size, len(self.lines), len(self.lines) - len(self._free), self._waiting)

    async def take(self, ends_at: float) -> L:
        """Return a line that nobody else uses until it is given back; wait until *ends_at* by the loop's clock.

        Raises:
            DatabaseFault: None is free by then (`timeout`), or for too long (`pool_exhausted`).
        """
        patient_until = asyncio.get_running_loop().time() + self._checkout_timeout_seconds
        self._waiting += 1
        try:
            async with asyncio.timeout_at(min(ends_at, patient_until)):
                await self._places.acquire()
        except TimeoutError:
            if ends_at <= patient_until:
                raise DatabaseFault(Reason.TIMEOUT, "earlier questions are still being asked") from None
            raise DatabaseFault(
                Reason.POOL_EXHAUSTED,
                f"none of {self._size} connections was free within {self._checkout_timeout_seconds:g} s;"
                " raise database.pool_size",
            ) from None
        finally:
            self._waiting -= 1
        if self._free:
            return self._free.pop().line
        line = self._make()
        self.lines.append(line)
        return line

    def give_back(self, line: L) -> None:
        """Let others have *line*."""
        now = time.monotonic()
        self._free.append(_Free(line, now))
        self._places.release()
        while now - self._free[0].since > IDLE_SECONDS:
            self._retire(self._free.pop(0).line)

    def distrust(self) -> None:
        """Close every line that is free: one was found broken, and what broke it has not spared the others."""
        while self._free:
            self._retire(self._free.pop().line)

    async def close(self) -> None:
        """Close every line; each may be used again."""
        await asyncio.gather(*(line.close() for line in self.lines), *self._closing)

    def _retire(self, line: L) -> None:
        self.lines.remove(line)
        closing = asyncio.ensure_future(line.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
