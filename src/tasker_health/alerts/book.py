"""The ledger as one process has it: read, changed and written back under a lease, and kept here while that fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

from tasker_health.alerts import Event
from tasker_health.alerts.ledger import Ledger, begun, is_believable, shifted
from tasker_health.alerts.merging import merged
from tasker_health.alerts.pending import Pending
from tasker_health.alerts.waiting import fit, settle
from tasker_health.cache.document import Loaded, SharedDocument
from tasker_health.clock import Clock

Change = Callable[[Ledger, bool], None]
"""Changes a ledger; is told whether this process is alone with it."""

_LOOK_SECONDS, _MOST_LOOK_SECONDS = 0.02, 0.25
_LEASE = "turn"


class Book:
    """One process' way to the ledger.

    Args:
        document: Where it lies.
        clock: Measures ages.
        timeout_seconds: Longest wait for one answer of the cache.
        keep_seconds: How long the ledger lies there if nobody writes it again.
        patience_seconds: How long another process may have its turn before this one goes on alone.
        silent_seconds: A ledger that is older was left by everybody.
        note: Is told what was dropped so that the ledger may be written.
    """

    def __init__(
        self,
        document: SharedDocument[Ledger],
        clock: Clock,
        *,
        timeout_seconds: float,
        keep_seconds: float,
        patience_seconds: float,
        silent_seconds: float,
        note: Callable[[dict[str, list[Event]]], None],
    ) -> None:
        self._document = document
        self._clock = clock
        # Four answers are waited for at most while it is held.
        self._lease_seconds = 1.0 + 5 * timeout_seconds
        self._keep_seconds = keep_seconds
        self._patience_seconds = max(patience_seconds, 2 * self._lease_seconds)
        self._silent_seconds = silent_seconds
        self._note = note
        self._mine = begun(clock.monotonic())
        self._is_ahead = False
        self._offset: float | None = None
        self._settled: dict[str, set[str]] = {}
        self.open()

    def open(self) -> None:
        """Begin on the running event loop, which may be another one than the last."""
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()

    async def let_go(self) -> None:
        """Let another process have its turn, if one of ours was cut off."""
        await self._document.release(_LEASE)

    def queue(self, channel: str) -> list[Pending]:
        """Return what waits for *channel*, as far as this process knows."""
        settled = self._settled.get(channel, ())
        return [each for each in self._mine.queue(channel) if each.event.id not in settled]

    async def news(self) -> None:
        """Wait until the ledger is another one."""
        await self._news.wait()

    async def look(self) -> None:
        """Read the ledger, so that what others have done is known here."""
        async with self._lock:
            loaded = await self._document.load(is_believable)
            if loaded.document is not None:
                self._have(self._known(loaded), is_ahead=self._is_ahead)

    async def change(self, work: Change) -> None:
        """Have *work* change the ledger: for all, or here alone where the fleet cannot be asked.

        What it does is not repeated: if it cannot be written, it is kept here and merged in later.
        """
        async with self._lock:
            if not await self._await_turn():
                self._alone(work)
                return
            began = self._clock.monotonic()
            try:
                await self._change_for_all(work, began)
            finally:
                # Who is cancelled waits for no cache: the lease ends by itself.
                if (task := asyncio.current_task()) is not None and not task.cancelling():
                    await self._document.release(_LEASE)

    async def settle(self, channel: str, settled: Collection[str], attempted: Collection[str]) -> None:
        """Have what is *settled* wait no more for *channel*, and count what was *attempted*."""
        self._settled.setdefault(channel, set()).update(settled)
        await self.change(lambda ledger, _alone: settle(ledger, channel, settled, attempted))

    async def _change_for_all(self, work: Change, began: float) -> None:
        loaded = await self._document.load(is_believable)
        if not loaded.is_answered:
            self._alone(work)
            return
        await asyncio.sleep(0)  # a full ledger takes a thousandth of a second to read, and one to write
        ledger = self._known(loaded)
        settled = {channel: frozenset(ids) for channel, ids in self._settled.items()}
        for channel, ids in settled.items():
            settle(ledger, channel, ids)
        work(ledger, False)  # noqa: FBT003 -- the one argument of every change
        self._fit(ledger)
        ledger.version += 1
        await asyncio.sleep(0)
        now = self._clock.monotonic()
        offset = self._offset = self._offset or 0.0
        ledger.written_at = now - offset
        # Who was stopped in between may have lost the lease: what others have written since is not undone.
        saved = now - began < self._lease_seconds / 2 and await self._document.save(
            shifted(ledger, -offset), self._keep_seconds
        )
        if saved:
            self._settled = {channel: ids - settled.get(channel, set()) for channel, ids in self._settled.items()}
        self._have(ledger, is_ahead=not saved)

    def _alone(self, work: Change) -> None:
        ledger = shifted(self._mine, 0.0)
        work(ledger, True)  # noqa: FBT003 -- as above
        self._fit(ledger)
        self._have(ledger, is_ahead=True)

    def _known(self, loaded: Loaded[Ledger]) -> Ledger:
        """Return what was *loaded* with what only this process knows; it may be changed."""
        now = self._clock.monotonic()
        theirs = None
        if loaded.document is not None:
            theirs = shifted(loaded.document, self._offset_of(loaded.document, loaded, now))
        if theirs is not None and loaded.age_seconds > self._silent_seconds:
            theirs.begun_at = now  # nobody was there: all are to be heard before anything ends
        return merged(theirs, self._mine, now, is_ahead=self._is_ahead)

    def _offset_of(self, document: Ledger, loaded: Loaded[Ledger], now: float) -> float:
        """Return by how much our clock is ahead of the time of *document*.

        It is measured once, and kept while it can be true. Ages of a coarse clock (Memcached's) are up to seconds too
        much: were each process to add that to what it writes again, twenty of them would make a minute of a quarter.
        """
        earliest = now - loaded.age_seconds - document.written_at
        latest = now - loaded.least_age_seconds - document.written_at
        self._offset = latest if self._offset is None else min(max(self._offset, earliest), latest)
        return self._offset

    async def _await_turn(self) -> bool:
        """Return whether it is our turn; false where nobody can tell, or somebody else has it for too long."""
        ends_at = self._clock.monotonic() + self._patience_seconds
        look_seconds = _LOOK_SECONDS
        while True:
            granted = await self._document.acquire(_LEASE, self._lease_seconds)
            if granted or granted is None or self._clock.monotonic() >= ends_at:
                return bool(granted)
            await asyncio.sleep(look_seconds * (0.5 + random.random()))  # noqa: S311 -- no secret
            look_seconds = min(look_seconds * 1.5, _MOST_LOOK_SECONDS)

    def _fit(self, ledger: Ledger) -> None:
        self._note(fit(ledger))

    def _have(self, ledger: Ledger, *, is_ahead: bool) -> None:
        self._mine, self._is_ahead = ledger, is_ahead
        news, self._news = self._news, asyncio.Event()
        news.set()
