"""Brings what waits to one channel: in order, in a bounded time, again after a rest, and not for ever.

Rests grow as in "Exponential Backoff And Jitter" (AWS Architecture Blog, full jitter): a random time up to a bound that
doubles. What the other side asks for (`Retry-After`) is honoured when it is longer.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from msgspec import Struct, field

from tasker_health.alerts import Channel
from tasker_health.alerts.pending import Pending
from tasker_health.clock import Clock
from tasker_health.counters import DeliveryCounts
from tasker_health.deadline import within
from tasker_health.errors import DeliveryError
from tasker_health.reasons import reason_of
from tasker_health.settings.alerts import AlertSettings

log = logging.getLogger(__name__)

BASE_SECONDS = 2.0
"""Upper bound of the rest after a first failure; it doubles with each further one."""

MOST_SECONDS = 300.0
"""Longest rest of our own: PagerDuty asks for "a few minutes" (Events API v2 Overview, "Rate Limits")."""

MOST_ASKED_SECONDS = 900.0
"""Longest rest that the other side gets: `Retry-After: 999999999` must not silence pages."""

_PATIENT_ATTEMPTS = 5
"""After so many failures of one event others are tried without it: perhaps it is the event that is not digested."""

_MOST_HELD = 5
"""So many incidents are passed over at a time: more that fail mean that the other side is down."""

_TOLD_EVERY = 20
"""Of failures in a row the first is told, and every so many after it."""


class Outcome(Struct, kw_only=True):
    """What came of one delivery.

    Attributes:
        done: Ids of events that were taken.
        dropped: Why nobody will get the others, by id: `refused` or `expired`.
        attempted: Ids of those that were sent, with success or without.
        was_asked: Whether the other side has said for how long it wants to be left alone.
        rest_seconds: How long the channel is to be left alone; 0: what was not sent can be sent at once.
    """

    done: set[str] = field(default_factory=set)
    dropped: dict[str, str] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    was_asked: bool = False
    rest_seconds: float = 0.0


class Dispatch:
    """Delivers to one channel. It remembers its rests, so asking too early costs nothing.

    Args:
        channel: Who is told.
        counts: Where it is counted.
        settings: How long one delivery may take, and how long an event waits.
        clock: What time it is.
        chance: Answers a number from 0 to 1.
    """

    def __init__(
        self,
        channel: Channel,
        counts: DeliveryCounts,
        settings: AlertSettings,
        clock: Clock,
        chance: random.Random | None = None,
    ) -> None:
        self._channel = channel
        self._counts = counts
        self._settings = settings
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 -- no secret
        self._rests_until = -1.0
        self._held: dict[str, float] = {}
        self._failures = 0

    async def deliver(self, pending: Sequence[Pending]) -> Outcome:
        """Send *pending* in their order until one of them has to wait, or half of the time is over.

        Of one incident nothing is sent before what stands before it has been taken, dropped or refused.
        """
        outcome = Outcome()
        waiting = [each for each in pending if not self._is_expired(each, outcome)]
        self._counts.pending = len(waiting)
        began = self._clock.monotonic()
        self._held = {key: until for key, until in self._held.items() if until > began}
        if began < self._rests_until:
            outcome.rest_seconds = self._rests_until - began
            return outcome
        for each in waiting:
            spent = self._clock.monotonic() - began
            # Each gets at least half of the time, so what takes that long succeeds as the first of the next turn.
            if spent > self._settings.timeout_seconds / 2:
                break
            if each.event.dedup_key not in self._held and not await self._sent(each, spent, outcome):
                break
        outcome.rest_seconds = self._rest(waiting, outcome)
        return outcome

    def _is_expired(self, pending: Pending, outcome: Outcome) -> bool:
        waited = self._clock.monotonic() - pending.first_at
        if waited <= self._settings.keep_seconds:
            return False
        self._drop(pending, "expired", outcome)
        log.error("alerts to %s: %s has waited %.0f s and is dropped", self._channel.name, _told(pending), waited)
        return True

    async def _sent(self, pending: Pending, spent: float, outcome: Outcome) -> bool:
        """Return whether to go on with the next one, after an attempt of *pending*."""
        outcome.attempted.add(pending.event.id)
        try:
            await within(self._channel.send(pending.event), self._settings.timeout_seconds - spent)
        except Exception as error:  # noqa: BLE001 -- whatever a channel raises, the event waits
            return self._failed(pending, _failure(error), outcome)
        outcome.done.add(pending.event.id)
        self._counts.results["sent"] += 1
        self._counts.pending -= 1
        self._counts.error = None
        if self._failures:
            log.warning("alerts to %s: delivered again", self._channel.name)
        self._failures = 0
        return True

    def _failed(self, pending: Pending, failure: DeliveryError, outcome: Outcome) -> bool:
        self._counts.error = str(failure)
        self._counts.results["failed" if failure.again else "refused"] += 1
        told = "is tried again" if failure.again else "is refused and dropped"
        if self._failures % _TOLD_EVERY == 0:
            log.warning("alerts to %s: %s %s: %s", self._channel.name, _told(pending), told, failure)
        self._failures += 1
        if not failure.again:
            self._drop(pending, "refused", outcome)
            self._counts.pending -= 1
            return True
        outcome.was_asked = failure.after_seconds is not None
        until = self._clock.monotonic() + self._rest_after(pending.attempts, failure.after_seconds)
        if pending.attempts >= _PATIENT_ATTEMPTS and failure.after_seconds is None and len(self._held) < _MOST_HELD:
            self._held[pending.event.dedup_key] = until
            return True
        self._rests_until = until
        return False

    def _drop(self, pending: Pending, why: str, outcome: Outcome) -> None:
        outcome.dropped[pending.event.id] = why
        self._counts.dropped[why] += 1

    def _rest_after(self, attempts: int, asked: float | None) -> float:
        bound = min(MOST_SECONDS, BASE_SECONDS * 2.0 ** min(attempts, 30))
        return max(self._chance.uniform(0.0, bound), min(asked or 0.0, MOST_ASKED_SECONDS))

    def _rest(self, waiting: Sequence[Pending], outcome: Outcome) -> float:
        """Return how long the channel is to be left alone, or until when all that waits is held."""
        now = self._clock.monotonic()
        settled = outcome.done | outcome.dropped.keys()
        left = [each.event.dedup_key for each in waiting if each.event.id not in settled]
        if left and all(key in self._held for key in left):
            return max(0.0, min(self._held[key] for key in left) - now, self._rests_until - now)
        return max(0.0, self._rests_until - now)


def _failure(error: Exception) -> DeliveryError:
    """Return what *error* says; the words of one that is not ours could hold an address or a key."""
    return error if isinstance(error, DeliveryError) else DeliveryError(f"{reason_of(error)} ({type(error).__name__})")


def _told(pending: Pending) -> str:
    return f"{pending.event.action} of {pending.event.dedup_key}"
