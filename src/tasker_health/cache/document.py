"""A document of any form in the cache that a fleet shares, and leases for whoever works on it.

Facts of sources have a form and rules of their own (`shared`); a document is read, changed and written back by one
process at a time, under a lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from tasker_health.cache import Held
from tasker_health.cache.contained import UNANSWERED, ContainedCache
from tasker_health.cache.sealing import Refusal, RefusedError, Sealer
from tasker_health.clock import Clock
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.reasons import words_of

T = TypeVar("T")


class _Envelope(Struct, Generic[T], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies in the cache: whose it is, and what it says."""

    owner: str
    document: T


class Loaded(NamedTuple, Generic[T]):
    """What was found.

    Attributes:
        document: What lies there; `None`: nothing, or nothing that is believed.
        age_seconds: How long ago it was written, at most, by the clock of the cache.
        least_age_seconds: How long ago that was at least, where that clock is coarse.
        is_answered: Whether the cache has said so; if not, nothing is known.
    """

    document: T | None
    age_seconds: float
    least_age_seconds: float
    is_answered: bool


class SharedDocument(Generic[T]):
    """One document.

    Its times are to be relative to when it was written: the clocks of those who read it may be minutes apart. Old ones
    that somebody has kept and puts back are not known again here: the document itself has to tell.

    Args:
        cache: Where it lies.
        sealer: Makes entries and opens them.
        clock: Measures how long an answer took.
        name: Of the document; what another one of the same name has written of another form is not believed.
        form: Of the document.
        coarse_seconds: By how much an age may be above the truth.

    Attributes:
        is_shared: Whether other processes can see it.
    """

    def __init__(
        self,
        cache: ContainedCache,
        sealer: Sealer,
        clock: Clock,
        name: str,
        form: type[T],
        coarse_seconds: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._sealer = sealer
        self._clock = clock
        self._name = name
        self._coarse_seconds = coarse_seconds
        self._decoder = msgspec.json.Decoder(_Envelope[form])  # type: ignore[valid-type]
        self._holder = secrets.token_hex(8)
        self.is_shared: bool = cache.counts.back_end != "memory"

    async def load(self, believe: Callable[[T], bool]) -> Loaded[T]:
        """Return what lies there, if it is of our form and *believe* agrees.

        What is not believed is counted, and told by the check of the cache.
        """
        began = self._clock.monotonic()
        held = await self._cache.get(self._sealer.key(self._name))
        if held is UNANSWERED:
            return Loaded(None, 0.0, 0.0, is_answered=False)
        if held is None:
            return Loaded(None, 0.0, 0.0, is_answered=True)
        try:
            document = self._opened(held, believe)
        except RefusedError as error:
            self._refuse(f"entry {self._name}", error, Reason.INVALID)
            return Loaded(None, 0.0, 0.0, is_answered=True)
        self._cache.trouble.well(f"entry {self._name}")
        age_seconds = max(0.0, held.age_seconds) if isinstance(held, Held) else 0.0
        age_seconds += self._clock.monotonic() - began
        return Loaded(document, age_seconds, max(0.0, age_seconds - self._coarse_seconds()), is_answered=True)

    async def save(self, document: T, keep_seconds: float) -> bool:
        """Write *document*, to be kept for *keep_seconds*; return whether that was done."""
        body = msgspec.json.encode(_Envelope(owner=self._sealer.owner(self._name), document=document))
        try:
            sealed = self._sealer.wrap(self._name, body)
        except RefusedError as error:
            self._refuse(f"telling {self._name}", error, Reason.ERROR)
            return False
        self._cache.trouble.well(f"telling {self._name}")
        saved = await self._cache.put(self._sealer.key(self._name), sealed, keep_seconds)
        if saved:
            self._cache.trouble.well(f"entry {self._name}")
        return saved

    async def acquire(self, lease: str, seconds: float) -> bool | None:
        """Return whether this process has the *lease* for *seconds* from now on; `None`: nobody can tell."""
        return await self._cache.acquire(self._lease_key(lease), self._holder, seconds)

    async def release(self, lease: str) -> None:
        """Give up the *lease*, if this process has it."""
        await self._cache.release(self._lease_key(lease), self._holder)

    def forget(self) -> None:
        """Be another holder of leases than the process that this one was forked from."""
        self._holder = secrets.token_hex(8)

    def _opened(self, held: Held | CacheFault, believe: Callable[[T], bool]) -> T:
        if isinstance(held, CacheFault):
            raise RefusedError(Refusal.INVALID, words_of(held))
        body = self._sealer.unwrap(self._name, held.value)
        try:
            envelope: _Envelope[T] = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise RefusedError(Refusal.INVALID, "not of our form") from None
        if envelope.owner != self._sealer.owner(self._name):
            raise RefusedError(Refusal.FOREIGN, "of another document, service or namespace")
        if not believe(envelope.document):
            raise RefusedError(Refusal.INVALID, "it says what cannot be")
        return envelope.document

    def _refuse(self, what: str, error: RefusedError, reason: Reason) -> None:
        self._cache.counts.refused_entries[error.refusal] += 1
        self._cache.trouble.seen(what, reason, str(error))

    def _lease_key(self, lease: str) -> str:
        return f"{self._sealer.key(f'{self._name}/{lease}')}:lease"
