"""A cache as its users need it: it answers in time, or not at all, and never raises, whoever wrote it."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tasker_health.cache import Cache, Held
from tasker_health.cache.breaker import Breaker
from tasker_health.cache.trouble import Trouble
from tasker_health.clock import Clock
from tasker_health.counters import CacheCounts
from tasker_health.deadline import within
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")

log = logging.getLogger(__name__)

UNANSWERED = CacheFault(Reason.NOT_RUN)
"""What `get` answers when the cache does not."""

_SLACK = 1.2
"""A cache ends its questions itself; one that does not is left to itself so much later."""

_CLOSE_SECONDS = 5

_AWAY = frozenset(
    {Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE, Reason.AUTHENTICATION_FAILED, Reason.TOO_MANY_CONNECTIONS}
)
"""Faults after which it is left alone. One that answers, but is full or read-only, is still worth asking."""


class ContainedCache:
    """Asks *cache*, unless it has just not answered.

    Args:
        cache: The back end.
        timeout_seconds: Longest wait for one answer.
        clock: Measures for how long it is left alone.

    Attributes:
        counts: Where questions are counted.
        trouble: What is wrong with it.
    """

    def __init__(self, cache: Cache, *, timeout_seconds: float, clock: Clock) -> None:
        self._cache = cache
        self._seconds = timeout_seconds * _SLACK
        self._clock = clock
        self._breaker = Breaker()
        self.counts: CacheCounts = CacheCounts(cache.name)
        self.trouble: Trouble = Trouble(cache.name, clock)

    async def get(self, key: str) -> Held | CacheFault | None:
        """Return what lies under *key*; a fault when that is not ours, and `UNANSWERED`."""
        return await self._ask("get", lambda: self._get(key), UNANSWERED)

    async def put(self, key: str, value: bytes, keep_seconds: float) -> bool:
        """Keep *value* under *key* for *keep_seconds*; return whether that was done."""
        return await self._ask("put", lambda: self._put(key, value, keep_seconds), otherwise=False)

    async def acquire(self, key: str, holder: str, seconds: float) -> bool | None:
        """Return whether *holder* has the lease *key* for *seconds* from now on; `None`: nobody can tell."""
        return await self._ask("acquire", lambda: self._acquire(key, holder, seconds), None)

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it."""
        await self._ask("release", lambda: self._release(key, holder), None)

    def forget(self) -> None:
        """Ask again at once, in a process that was forked."""
        self._breaker = Breaker()

    async def close(self) -> None:
        """Give up connections; the next question opens new ones."""
        try:
            await within(self._cache.close(), _CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 -- a cache of the user's; the other connections are to be closed too
            log.warning("cache %s: close (%s): %s", self._cache.name, reason_of(error), words_of(error))

    async def _get(self, key: str) -> Held | CacheFault | None:
        try:
            held = await self._cache.get(key)
        except CacheFault as fault:
            if fault.reason is not Reason.INVALID:
                raise
            return fault  # the cache has answered: it is what lies there that is not ours
        if held is None or (isinstance(held, Held) and isinstance(held.value, bytes) and _is_time(held.age_seconds)):
            return held
        return CacheFault(Reason.INVALID, "get answered neither Held, of bytes and seconds, nor None")

    async def _put(self, key: str, value: bytes, keep_seconds: float) -> bool:
        await self._cache.put(key, value, keep_seconds)
        return True

    async def _acquire(self, key: str, holder: str, seconds: float) -> bool:
        granted = await self._cache.acquire(key, holder, seconds)
        if not isinstance(granted, bool):
            raise CacheFault(Reason.INVALID, f"acquire answered {type(granted).__name__}; it must answer a bool")
        return granted

    async def _release(self, key: str, holder: str) -> None:
        await self._cache.release(key, holder)

    async def _ask(self, question: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Return what the cache answers; *otherwise* when it does not, or is not to be asked."""
        on_trial = self._breaker.is_open
        if not self._breaker.allows(self._clock.monotonic()):
            self.counts.requests[question, "skipped"] += 1
            return otherwise
        try:
            answer = await within(ask(), self._seconds)
        except Exception as error:  # noqa: BLE001 -- a cache of the user's may raise anything
            reason = reason_of(error)
            if reason in _AWAY or not isinstance(error, CacheFault):
                self._breaker.failed(self._clock.monotonic(), on_trial=on_trial)
            else:
                self._breaker.succeeded()
            self._count_fault(question, reason)
            self.trouble.seen(question, reason, words_of(error))
            return otherwise
        except BaseException:  # the asker has left, or its event loop has ended under it
            if on_trial:
                self._breaker.left()
            raise
        self._breaker.succeeded()
        if isinstance(answer, CacheFault):
            self._count_fault(question, answer.reason)
        else:
            self.counts.requests[question, "ok"] += 1
        self.trouble.answered(question)
        return answer

    def _count_fault(self, question: str, reason: Reason) -> None:
        self.counts.requests[question, "failed"] += 1
        self.counts.faults[reason] += 1


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds)
