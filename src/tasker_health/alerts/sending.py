"""Has what waits for one channel delivered, by one process of the fleet at a time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from tasker_health.alerts.book import Book
from tasker_health.alerts.dispatch import Dispatch
from tasker_health.alerts.ledger import Ledger
from tasker_health.cache.document import SharedDocument

LEASE_SECONDS = 10.0
"""How long a dead sender keeps the others from sending."""

_EXTEND_SECONDS = 3.0
_LOOK_SECONDS = 5.0
"""How often it is looked whether another process has died over what it was to send."""

_MOST_FAILURES = 5
"""After so many in a row another process tries: perhaps it is our own way there that is broken."""

_PAUSE_SECONDS = 0.5
"""Least time from one delivery that has brought nothing to the next one."""


class Sending:
    """Delivers to one channel while it runs.

    The lease is not that of a turn, and is held for as long as anything waits: an endpoint that hangs holds up nobody's
    turn, and one that wants to be left alone is left alone by the whole fleet.

    Args:
        channel: Name of the channel.
        dispatch: Delivers to it.
        book: What waits.
        document: Who has the lease.
    """

    def __init__(self, channel: str, dispatch: Dispatch, book: Book, document: SharedDocument[Ledger]) -> None:
        self._channel = channel
        self._dispatch = dispatch
        self._book = book
        self._document = document
        self._lease = f"sender:{channel}"

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            if not self._book.queue(self._channel):
                await self._book.news()
                continue
            granted = await self._document.acquire(self._lease, LEASE_SECONDS)
            if granted is False:
                await asyncio.sleep(_LOOK_SECONDS * (0.5 + random.random() / 2))  # noqa: S311 -- no secret
                await self._book.look()
                continue
            async with self._kept() as lost:
                is_over = await self._deliver_all(lost)
            await self.let_go()
            if not is_over:
                await asyncio.sleep(LEASE_SECONDS)

    async def let_go(self) -> None:
        """Let another process send."""
        await self._document.release(self._lease)

    async def _deliver_all(self, lost: asyncio.Event) -> bool:
        """Deliver until nothing waits, or another process has the lease; return false where another one is to try."""
        await self._book.look()
        failures = 0
        while (pending := self._book.queue(self._channel)) and not lost.is_set():
            outcome = await self._dispatch.deliver(pending)
            settled = outcome.done | outcome.dropped.keys()
            if settled or outcome.attempted:
                await self._book.settle(self._channel, settled, outcome.attempted - settled)
            if outcome.done or outcome.was_asked:
                failures = 0
            elif outcome.attempted:
                failures += 1
            if failures >= _MOST_FAILURES:
                return False
            if not settled:
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._rest(lost, outcome.rest_seconds - _PAUSE_SECONDS)
        return True

    async def _rest(self, lost: asyncio.Event, seconds: float) -> None:
        """Wait for so many *seconds*, or until something else waits, too: perhaps that can be sent at once."""
        if seconds <= 0:
            return
        ends = [asyncio.ensure_future(lost.wait()), asyncio.ensure_future(self._book.news())]
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    @contextlib.asynccontextmanager
    async def _kept(self) -> AsyncIterator[asyncio.Event]:
        """Keep the lease, or get it as soon as anybody can tell; what is given is set when another process has it."""
        lost = asyncio.Event()
        keeping = asyncio.ensure_future(self._keep(lost))
        try:
            yield lost
        finally:
            keeping.cancel()

    async def _keep(self, lost: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(_EXTEND_SECONDS)
            if await self._document.acquire(self._lease, LEASE_SECONDS) is False:
                lost.set()
