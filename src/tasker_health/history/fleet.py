"""The last hour of the whole fleet: one document in the shared cache, which its processes write in turn."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct

from tasker_health.cache.document import SharedDocument
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.history import WINDOW_SECONDS
from tasker_health.history.era import Era
from tasker_health.history.slots import FIGURES, Slot, Slots

MOST_REPLICAS = 500
"""So many processes are counted; they make 15 KiB."""

_LEASE = "turn"
_LOOK_SECONDS, _MOST_LOOK_SECONDS = 0.02, 0.25
_MOST_PATIENCE_SECONDS = 5
_AT_ONCE = 8
"""So many slots are put together before others have their turn on the event loop: of a hundred checks each."""

_NOTICED_SECONDS = 1
"""By less, the times of two processes differ anyway, as ages do that a cache tells."""

_Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,62}$")]
_Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]


class Told(Struct, forbid_unknown_fields=True):
    """What the fleet has seen.

    Attributes:
        written_at: When this was written, on the fleet's time.
        replicas: Who has told something, and in which slot the last time.
        names: Of the checks, in the order of the slots.
        slots: Those in which something was seen, the oldest first.
    """

    written_at: _Seconds
    replicas: Annotated[dict[Annotated[str, Meta(max_length=16)], int], Meta(max_length=MOST_REPLICAS)]
    names: list[_Name]
    slots: list[Slot]


class Fleet:
    """One process' way to the history of all.

    Args:
        shared: The cache.
        slots: What is seen here; what others have seen is put beside it.
        era: The time of those.
        clock: Measures how long a turn takes.
        timeout_seconds: Longest wait for one answer of the cache.

    Attributes:
        can_be_shared: Whether other processes can see it at all.
        is_shared: Whether that went well the last time.
        replicas: Who has told something, and in which slot the last time.
    """

    def __init__(self, shared: SharedCache, slots: Slots, era: Era, clock: Clock, *, timeout_seconds: float) -> None:
        # Slots of another length are another document: they fit into no slot of ours.
        self._document: SharedDocument[Told] = shared.document(f"history/{slots.slot_seconds}", Told)
        self._slots = slots
        self._era = era
        self._clock = clock
        self._me = secrets.token_hex(8)
        # Four answers are waited for at most while it is held.
        self._lease_seconds = 1.0 + 5 * timeout_seconds
        self._patience_seconds = min(slots.slot_seconds / 4, _MOST_PATIENCE_SECONDS)
        self.can_be_shared: bool = self._document.is_shared
        self.is_shared: bool = False
        self.replicas: dict[str, int] = {}

    def note(self, number: int) -> None:
        """Count this process: it has seen something in the slot *number*."""
        if self.replicas.get(self._me) == number:
            return
        self.replicas[self._me] = number
        first = number - self._slots.count + 1
        alive = sorted(
            ((seen, name) for name, seen in self.replicas.items() if seen >= first), key=lambda each: -each[0]
        )
        self.replicas = {name: seen for seen, name in alive[:MOST_REPLICAS]}

    def count(self, number: int) -> int:
        """Return how many processes have told something within the hour that ends with the slot *number*."""
        return sum(seen > number - self._slots.count for seen in self.replicas.values())

    async def look(self) -> None:
        """Read what others have seen."""
        self.is_shared = await self._read()

    async def turn(self) -> None:
        """Read what others have seen, and write it together with what was seen here, as nobody else does meanwhile."""
        granted = await self._await_turn()
        if not granted:  # another process has its turn for too long, or nobody can tell: ours comes again
            self.is_shared = granted is False and await self._read()
            return
        began = self._clock.monotonic()
        try:
            # Who was stopped in between may have lost the lease: what others have written since is not undone.
            is_read = await self._read() and self._clock.monotonic() - began < self._lease_seconds / 2
            self.is_shared = is_read and await self._write()
        finally:
            # Who is cancelled waits for no cache: the lease ends by itself.
            if (task := asyncio.current_task()) is not None and not task.cancelling():
                await self._document.release(_LEASE)

    async def _await_turn(self) -> bool | None:
        """Return whether it is our turn; `None`: nobody can tell."""
        ends_at = self._clock.monotonic() + self._patience_seconds
        look_seconds = _LOOK_SECONDS
        while True:
            granted = await self._document.acquire(_LEASE, self._lease_seconds)
            if granted or granted is None or self._clock.monotonic() >= ends_at:
                return granted
            await asyncio.sleep(look_seconds * (0.5 + random.random()))  # noqa: S311 -- no secret
            look_seconds = min(look_seconds * 1.5, _MOST_LOOK_SECONDS)

    async def _read(self) -> bool:
        """Put what others have seen beside what was seen here; return whether that is all there is."""
        slots = self._era.settle()
        self._shift(slots, slots * self._slots.slot_seconds)
        loaded = await self._document.load(believer(self._slots))
        if loaded.document is None or not self._era.is_near(loaded.document.written_at, loaded.age_seconds):
            return loaded.is_answered
        change = self._era.follow(loaded.document.written_at, loaded.age_seconds, loaded.least_age_seconds)
        self._shift(round(change / self._slots.slot_seconds), change)
        await asyncio.sleep(0)
        return await self._take(loaded.document)

    async def _take(self, told: Told) -> bool:
        """Put what was *told* beside what was seen here, and return whether nothing came between."""
        self._slots.arrange(told.names)
        names = told.names[: self._slots.most_checks]
        first = self._era.number() - self._slots.count + 1
        for place, slot in enumerate(told.slots):
            if place % _AT_ONCE == 0:
                await asyncio.sleep(0)
                if self._slots.names[: len(names)] != names:  # a check that is new here has taken a place
                    return False
            if slot.number >= first:
                self._slots.merge(slot)
        for name, seen in told.replicas.items():
            self.replicas[name] = max(seen, self.replicas.get(name, seen))
        return True

    def _shift(self, slots: int, seconds: float) -> None:
        """Number our slots as the fleet does, from now on and back."""
        if slots or abs(seconds) > _NOTICED_SECONDS:
            self._slots.shift(slots, seconds)
            self.replicas = {name: seen + slots for name, seen in self.replicas.items()}

    async def _write(self) -> bool:
        number = self._era.number()
        self._slots.trim(number)
        # Our time may just have gone back a little; nobody would believe what is still to come.
        self.replicas = {name: min(seen, number) for name, seen in self.replicas.items()}
        slots = [self._slots.by_number[number] for number in sorted(self._slots.by_number)]
        told = Told(self._era.now(), self.replicas, self._slots.names, slots)
        return await self._document.save(told, WINDOW_SECONDS + self._slots.slot_seconds)


def believer(slots: Slots) -> Callable[[Told], bool]:
    """Return who says whether a document can be one of ours, about *slots* like these.

    Of which form each part is, the decoder has seen.
    """

    def believe(told: Told) -> bool:
        last = told.written_at // slots.slot_seconds
        numbers = [slot.number for slot in told.slots]
        return (
            numbers == sorted(set(numbers))
            and (not numbers or (numbers[0] > last - slots.count and numbers[-1] <= last))
            and len(told.names) == len(set(told.names))
            and all(last - slots.count < seen <= last for seen in told.replicas.values())
            and all(_can_be(slot, told) for slot in told.slots)
        )

    return believe


def _can_be(slot: Slot, told: Told) -> bool:
    known = len(told.names)
    has_figures = slot.read_at is not None
    return (
        len(slot.check_status) == len(slot.check_ms) <= known
        and len(slot.figures) == (len(FIGURES) if has_figures else 0)
        and (
            slot.read_at is None
            or told.written_at - 2 * WINDOW_SECONDS <= slot.read_at <= told.written_at + _NOTICED_SECONDS
        )
    )
