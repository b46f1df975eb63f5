"""What is wrong with the cache that a fleet shares, as far as the latest question of each kind has told."""

from __future__ import annotations

import logging

from tasker_health.clock import Clock
from tasker_health.model import Reason

log = logging.getLogger(__name__)

_PASSING = frozenset({Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE, Reason.TOO_MANY_CONNECTIONS})
"""Faults of the way there: any answer that comes proves that they are over, be it a refusal."""

_BY_CHANCE_SECONDS = 0.75
"""For so long an answer to one question does not end the error of another: a full cache has room for this and not for
that. Less than a probe's period: once the error is over, the next probe or the one after it says so."""


class Trouble:
    """Remembers what is wrong, and logs it when that is news.

    Args:
        cache: Name of the cache, for the log.
        clock: Measures how long ago it was seen.
    """

    def __init__(self, cache: str, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._reasons: dict[str, Reason] = {}
        self._seen_at: dict[str, float] = {}

    @property
    def reason(self) -> Reason | None:
        """The first of what is wrong; `None`: nothing is."""
        return next(iter(self._reasons.values()), None)

    def seen(self, what: str, reason: Reason, detail: str) -> None:
        """Remember that *what* was asked, or was looked at, is in trouble; *detail* is for the log."""
        before = self._reasons.get(what)
        if reason not in _PASSING:  # it was told by the cache itself
            self._reasons = {other: why for other, why in self._reasons.items() if why not in _PASSING}
        self._reasons[what] = reason
        self._seen_at[what] = self._clock.monotonic()
        if reason is not before:
            log.warning("cache %s: %s (%s): %s", self._cache, what, reason, detail)

    def well(self, what: str) -> None:
        """Forget the trouble of *what* was looked at."""
        self._forget([what] if what in self._reasons else [])

    def answered(self, question: str) -> None:
        """Forget the trouble of *question*, and of others what its answer proves to be over.

        Some questions are asked rarely, such as the end of a lease: they would tell of trouble long after it is over.
        """
        before = self._reasons.get(question)
        self._forget(
            [
                what
                for what, why in self._reasons.items()
                if what == question or why in _PASSING or (why is before and not self._may_be_chance(what, why))
            ]
        )

    def _may_be_chance(self, what: str, why: Reason) -> bool:
        """Whether the same cache may still do *what* badly, though it has just done something else well."""
        return why is Reason.ERROR and self._clock.monotonic() - self._seen_at[what] < _BY_CHANCE_SECONDS

    def _forget(self, over: list[str]) -> None:
        for what in over:
            del self._reasons[what]
        if over and not self._reasons:
            log.warning("cache %s: well again", self._cache)
