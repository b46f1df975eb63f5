"""The cache that a fleet shares: what its processes tell one another of their sources, and who is to read."""

from __future__ import annotations

import math
import secrets
from enum import Enum
from typing import NamedTuple, TypeVar

from tasker_health.cache import Cache, Held
from tasker_health.cache.contained import UNANSWERED, ContainedCache
from tasker_health.cache.document import SharedDocument
from tasker_health.cache.sealing import Record, Refusal, RefusedError, Sealer
from tasker_health.clock import Clock
from tasker_health.counters import CacheCounts
from tasker_health.errors import CacheFault
from tasker_health.model import Facts, Reason
from tasker_health.reasons import words_of

T = TypeVar("T")

LEASE_SECONDS = 0.75
"""How long a lease lasts that is not renewed. A dead holder costs the others that, and their rarest look: a second."""

PROBE_KEEP_SECONDS = 600
"""How long what a probe puts would lie there: much longer than until the next one."""

_REFUSED = {Refusal.VERSION: Reason.UNKNOWN_VERSION}

_LOOK_AGAIN_SECONDS = 10
"""An entry that was refused is looked at again so much later, if nobody has asked for it: so long it is told at least,
to whoever asks as rarely as a kubelet does."""


_MOST_REMEMBERED = 1000
"""So many entries are known again: those of an hour and more, of one source with the default time to live."""


class Grant(Enum):
    """What came of asking for a lease."""

    GRANTED = "granted"
    TAKEN = "taken"
    UNKNOWN = "unknown"


class Found(NamedTuple):
    """What another process, or this one, has told of a source.

    Attributes:
        facts: The newest facts; `None`: never read.
        age_seconds: How old they are, at most.
        fault: Why the reading after them failed.
        told_seconds: How long ago this was told, at most.
        written_at: When, by the clock of whoever told it.
        ours: Whether that was this process.
        is_new: Whether this process had not seen it before.
    """

    facts: Facts | None
    age_seconds: float
    fault: Reason | None
    told_seconds: float
    written_at: float
    ours: bool
    is_new: bool


class Look(NamedTuple):
    """What looking into the cache has shown.

    Attributes:
        found: What was there; `None`: nothing that is believed, or nobody knows.
        is_answered: Whether the cache has said so.
    """

    found: Found | None
    is_answered: bool


class SharedCache:
    """Tells the fleet what this process has read, and this process what another one has.

    Args:
        cache: The back end.
        sealer: Makes and opens entries.
        timeout_seconds: Longest wait for one answer.
        clock: Measures how long an answer took.

    Attributes:
        name: Name of the back end.
    """

    def __init__(self, cache: Cache, sealer: Sealer, *, timeout_seconds: float, clock: Clock) -> None:
        self.name: str = cache.name
        self._back_end = cache
        self._cache = ContainedCache(cache, timeout_seconds=timeout_seconds, clock=clock)
        self._sealer = sealer
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._probed = b""
        self._refused_at: dict[str, float] = {}
        self._told_at: dict[tuple[str, str, float], float] = {}

    @property
    def coarse_seconds(self) -> float:
        """By how much an age that it tells may be above the truth."""
        return self._back_end.coarse_seconds

    @property
    def counts(self) -> CacheCounts:
        """Where questions are counted."""
        return self._cache.counts

    @property
    def trouble(self) -> Reason | None:
        """What is wrong with it, as far as the latest question of each kind has told."""
        return self._cache.trouble.reason

    def document(self, name: str, form: type[T]) -> SharedDocument[T]:
        """Return the document *name*, of a *form* that msgspec knows, over the same back end, keys and signature."""
        return SharedDocument(self._cache, self._sealer, self._clock, name, form, lambda: self.coarse_seconds)

    async def find(self, name: str) -> Found | None:
        """Return what is told of the source *name*; `None`: nothing, nothing that is believed, or no answer."""
        return (await self.look(name)).found

    async def look(self, name: str) -> Look:
        """Return what is told of the source *name*, and whether the cache has answered at all."""
        key = self._sealer.key(name)
        began = self._clock.monotonic()
        held = await self._cache.get(key)
        if held is UNANSWERED:
            return Look(None, is_answered=False)
        if held is None:
            self._believe(name)
            return Look(None, is_answered=True)
        try:
            record, told_seconds = self._opened(name, held, began)
            is_new = _which(record) not in self._told_at
            told_seconds = self._since_it_was_told(record, told_seconds)
        except RefusedError as error:
            self.counts.refused_entries[error.refusal] += 1
            self._refused_at[name] = self._clock.monotonic()
            reason = _REFUSED.get(error.refusal, Reason.INVALID)
            self._cache.trouble.seen(f"entry {name}", reason, str(error))
            return Look(None, is_answered=True)
        self._believe(name)
        age_seconds, ours = record.age_seconds + told_seconds, record.teller == self._holder
        found = Found(record.facts, age_seconds, record.fault, told_seconds, record.written_at, ours, is_new)
        return Look(found, is_answered=True)

    async def tell(self, name: str, facts: Facts | None, age_seconds: float, fault: Reason | None, keep: float) -> None:
        """Tell the fleet *facts* of the source *name*, which are *age_seconds* old; forgotten after *keep* seconds."""
        record = Record(
            owner=self._sealer.owner(name),
            teller=self._holder,
            written_at=self._clock.now(),
            age_seconds=age_seconds,
            facts=facts,
            fault=fault,
        )
        try:
            sealed = self._sealer.seal(name, record)
        except RefusedError as error:
            self.counts.refused_entries[error.refusal] += 1
            self._cache.trouble.seen(f"telling {name}", Reason.ERROR, str(error))
            return
        self._cache.trouble.well(f"telling {name}")
        if await self._cache.put(self._sealer.key(name), sealed, keep):
            self._since_it_was_told(record, 0.0)

    async def acquire(self, name: str) -> Grant:
        """Return whether this process is the one to read the source *name*; ask again to keep that right."""
        granted = await self._cache.acquire(self._lease_key(name), self._holder, LEASE_SECONDS)
        if granted is None:
            return Grant.UNKNOWN
        return Grant.GRANTED if granted else Grant.TAKEN

    async def release(self, name: str) -> None:
        """Let another process read the source *name*."""
        await self._cache.release(self._lease_key(name), self._holder)

    async def probe(self) -> None:
        """Look whether what was put the last time is still there, and put something new: `trouble` tells the rest."""
        for name, refused_at in list(self._refused_at.items()):
            if self._clock.monotonic() - refused_at >= _LOOK_AGAIN_SECONDS:
                await self.find(name)
        key = f"{self._sealer.key('probe')}:{self._holder}"
        expected, self._probed = self._probed, b""
        if expected:
            held = await self._cache.get(key)
            if held is None:
                self._keeps_not(Reason.MISSING, "what was put is not there: evicted, or restarted empty")
            elif isinstance(held, Held) and held.value == expected:
                self._cache.trouble.well("keep")
            elif held is not UNANSWERED:
                self._keeps_not(Reason.INVALID, "what was put is not what is there")
        probe = secrets.token_bytes(8)
        if await self._cache.put(key, probe, PROBE_KEEP_SECONDS):
            self._probed = probe

    def forget(self) -> None:
        """Be another holder of leases than the process that this one was forked from."""
        self._holder, self._probed = secrets.token_hex(8), b""
        self._cache.forget()

    async def close(self) -> None:
        """Give up connections; the next question opens new ones."""
        self._probed = b""
        await self._cache.close()

    def _opened(self, name: str, held: Held | CacheFault, began: float) -> tuple[Record, float]:
        """Return what is told in *held*, and how long ago that was, at most."""
        if isinstance(held, CacheFault):
            raise RefusedError(Refusal.INVALID, words_of(held))
        # The way here is part of its age, and the clock of the cache may be set back.
        told_seconds = max(0.0, held.age_seconds) + self._clock.monotonic() - began
        record = self._sealer.open(name, held.value, age_seconds=told_seconds, now=self._clock.now())
        return record, told_seconds

    def _since_it_was_told(self, record: Record, told_seconds: float) -> float:
        """Return how long ago *record* was told, at most and at least since it was first seen here.

        What somebody has kept and put back looks new to the cache; here it goes on ageing.
        """
        now, which = self._clock.monotonic(), _which(record)
        told_at = min(self._told_at.pop(which, math.inf), now - told_seconds)
        self._told_at[which] = told_at  # at the end: the one seen least lately goes first
        if len(self._told_at) > _MOST_REMEMBERED:
            del self._told_at[next(iter(self._told_at))]
        return now - told_at

    def _keeps_not(self, reason: Reason, detail: str) -> None:
        self.counts.faults[reason] += 1
        self._cache.trouble.seen("keep", reason, detail)

    def _believe(self, name: str) -> None:
        """Remember that what lies there for the source *name* is ours, or nothing."""
        self._refused_at.pop(name, None)
        self._cache.trouble.well(f"entry {name}")

    def _lease_key(self, name: str) -> str:
        return f"{self._sealer.key(name)}:lease"


def _which(record: Record) -> tuple[str, str, float]:
    """Return what tells *record* from all others."""
    return record.owner, record.teller, record.written_at
