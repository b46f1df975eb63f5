"""The cache that a fleet shares, as its users see it: it answers in time, or not at all, and never raises."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple, TypeVar

from tasker_health.cache import Cache, Held
from tasker_health.cache.breaker import Breaker
from tasker_health.cache.sealing import Record, Refusal, RefusedError, Sealer
from tasker_health.cache.trouble import Trouble
from tasker_health.clock import Clock
from tasker_health.counters import CacheCounts
from tasker_health.deadline import within
from tasker_health.errors import CacheFault
from tasker_health.model import Facts, Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")

log = logging.getLogger(__name__)

LEASE_SECONDS = 1.0
"""How long a lease lasts without being renewed: what a dead holder costs the others."""

PROBE_KEEP_SECONDS = 600
"""How long what a probe puts would lie there: much longer than until the next one."""

_SLACK = 1.2
"""A cache ends its questions itself; one that does not is left to itself so much later."""

_AWAY = frozenset(
    {Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE, Reason.AUTHENTICATION_FAILED, Reason.TOO_MANY_CONNECTIONS}
)
"""Faults after which it is left alone. One that answers, but is full or read-only, is still worth asking."""

_REFUSED = {Refusal.VERSION: Reason.UNKNOWN_VERSION}

_LOOK_AGAIN_SECONDS = 10
"""An entry that was refused is looked at again so much later, if nobody has asked for it: so long it is told at least,
to whoever asks as rarely as a kubelet does."""

_CLOSE_SECONDS = 5

_UNANSWERED: Held | CacheFault | None = CacheFault(Reason.NOT_RUN)


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
    """

    facts: Facts | None
    age_seconds: float
    fault: Reason | None
    told_seconds: float
    written_at: float
    ours: bool


class SharedCache:
    """Tells the fleet what this process has read, and this process what another one has.

    Args:
        cache: The back end.
        sealer: Makes and opens entries.
        timeout_seconds: Longest wait for one answer.
        clock: Measures how long an answer took.

    Attributes:
        counts: Where questions are counted.
    """

    def __init__(self, cache: Cache, sealer: Sealer, *, timeout_seconds: float, clock: Clock) -> None:
        self._cache = cache
        self._sealer = sealer
        self._seconds = timeout_seconds * _SLACK
        self._clock = clock
        self.counts = CacheCounts(cache.name)
        self._breaker = Breaker()
        self._holder = secrets.token_hex(8)
        self._probed = b""
        self._trouble = Trouble(cache.name)
        self._refused_at: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Name of the back end."""
        return self._cache.name

    @property
    def coarse_seconds(self) -> float:
        """By how much an age that it tells may be above the truth."""
        return self._cache.coarse_seconds

    @property
    def trouble(self) -> Reason | None:
        """What is wrong with it, as far as the latest question of each kind has told."""
        return self._trouble.reason

    async def find(self, name: str) -> Found | None:
        """Return what is told of the source *name*; `None`: nothing, nothing that is believed, or no answer."""
        key = self._sealer.key(name)
        began = self._clock.monotonic()
        held = await self._ask("get", lambda: self._get(key), otherwise=_UNANSWERED)
        if held is _UNANSWERED:
            return None
        if held is None:
            self._believe(name)
            return None
        try:
            record, told_seconds = self._opened(name, held, began)
        except RefusedError as error:
            self.counts.refused_entries[error.refusal] += 1
            self._refused_at[name] = self._clock.monotonic()
            reason = _REFUSED.get(error.refusal, Reason.INVALID)
            self._trouble.seen(f"entry {name}", reason, str(error))
            return None
        self._believe(name)
        age_seconds, ours = record.age_seconds + told_seconds, record.teller == self._holder
        return Found(record.facts, age_seconds, record.fault, told_seconds, record.written_at, ours)

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
            self._trouble.seen(f"telling {name}", Reason.ERROR, str(error))
            return
        self._trouble.well(f"telling {name}")
        key = self._sealer.key(name)
        await self._ask("put", lambda: self._put(key, sealed, keep), otherwise=False)

    async def acquire(self, name: str) -> Grant:
        """Return whether this process is the one to read the source *name*; ask again to keep that right."""
        key = self._lease_key(name)
        granted = await self._ask("acquire", lambda: self._acquire(key), otherwise=None)
        if granted is None:
            return Grant.UNKNOWN
        return Grant.GRANTED if granted else Grant.TAKEN

    async def release(self, name: str) -> None:
        """Let another process read the source *name*."""
        key = self._lease_key(name)
        await self._ask("release", lambda: self._release(key), otherwise=None)

    async def probe(self) -> None:
        """Look whether what was put the last time is still there, and put something new: `trouble` tells the rest."""
        for name, refused_at in list(self._refused_at.items()):
            if self._clock.monotonic() - refused_at >= _LOOK_AGAIN_SECONDS:
                await self.find(name)
        key = f"{self._sealer.key('probe')}:{self._holder}"
        expected, self._probed = self._probed, b""
        if expected:
            held = await self._ask("get", lambda: self._get(key), otherwise=_UNANSWERED)
            if held is None:
                self._trouble.seen("keep", Reason.MISSING, "what was put is not there: evicted, or restarted empty")
            elif isinstance(held, Held) and held.value == expected:
                self._trouble.well("keep")
            elif held is not _UNANSWERED:
                self._trouble.seen("keep", Reason.INVALID, "what was put is not what is there")
        probe = secrets.token_bytes(8)
        if await self._ask("put", lambda: self._put(key, probe, PROBE_KEEP_SECONDS), otherwise=False):
            self._probed = probe

    def forget(self) -> None:
        """Be another holder of leases than the process that this one was forked from."""
        self._holder, self._probed = secrets.token_hex(8), b""
        self._breaker = Breaker()

    async def close(self) -> None:
        """Give up connections; the next question opens new ones."""
        self._probed = b""
        try:
            await within(self._cache.close(), _CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 -- a cache of the user's; the other connections are to be closed too
            log.warning("cache %s: close (%s): %s", self.name, reason_of(error), words_of(error))

    def _opened(self, name: str, held: Held | CacheFault, began: float) -> tuple[Record, float]:
        """Return what is told in *held*, and how long ago that was, at most."""
        if isinstance(held, CacheFault):
            raise RefusedError(Refusal.INVALID, words_of(held))
        # The way here is part of its age, and the clock of the cache may be set back.
        told_seconds = max(0.0, held.age_seconds) + self._clock.monotonic() - began
        return self._sealer.open(name, held.value, age_seconds=told_seconds, now=self._clock.now()), told_seconds

    def _believe(self, name: str) -> None:
        """Remember that what lies there for the source *name* is ours, or nothing."""
        self._refused_at.pop(name, None)
        self._trouble.well(f"entry {name}")

    async def _get(self, key: str) -> Held | CacheFault | None:
        """Return what lies under *key*; the fault as an answer, when it is what lies there that is not ours."""
        try:
            held = await self._cache.get(key)
        except CacheFault as fault:
            if fault.reason is not Reason.INVALID:
                raise
            return fault
        if held is None or (isinstance(held, Held) and isinstance(held.value, bytes) and _is_time(held.age_seconds)):
            return held
        return CacheFault(Reason.INVALID, "get answered neither Held, of bytes and seconds, nor None")

    async def _put(self, key: str, value: bytes, keep_seconds: float) -> bool:
        await self._cache.put(key, value, keep_seconds)
        return True

    async def _acquire(self, key: str) -> bool:
        granted = await self._cache.acquire(key, self._holder, LEASE_SECONDS)
        if not isinstance(granted, bool):
            raise CacheFault(Reason.INVALID, f"acquire answered {type(granted).__name__}; it must answer a bool")
        return granted

    async def _release(self, key: str) -> None:
        await self._cache.release(key, self._holder)

    def _lease_key(self, name: str) -> str:
        return f"{self._sealer.key(name)}:lease"

    async def _ask(self, operation: str, ask: Callable[[], Awaitable[T]], *, otherwise: T) -> T:
        """Return what the cache answers; *otherwise* when it does not, or is not to be asked."""
        on_trial = self._breaker.is_open
        if not self._breaker.allows(self._clock.monotonic()):
            self.counts.requests[operation, "skipped"] += 1
            return otherwise
        try:
            answer = await within(ask(), self._seconds)
        except Exception as error:  # noqa: BLE001 -- a cache of the user's may raise anything
            reason = reason_of(error)
            if reason in _AWAY or not isinstance(error, CacheFault):
                self._breaker.failed(self._clock.monotonic(), on_trial=on_trial)
            else:
                self._breaker.succeeded()
            self._count_fault(operation, reason)
            self._trouble.seen(operation, reason, words_of(error))
            return otherwise
        except BaseException:  # the asker has left, or its event loop has ended under it
            if on_trial:
                self._breaker.left()
            raise
        self._breaker.succeeded()
        if isinstance(answer, CacheFault):
            self._count_fault(operation, answer.reason)
        else:
            self.counts.requests[operation, "ok"] += 1
        self._trouble.answered(operation)
        return answer

    def _count_fault(self, operation: str, reason: Reason) -> None:
        self.counts.requests[operation, "failed"] += 1
        self.counts.faults[reason] += 1


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds)
