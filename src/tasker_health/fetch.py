"""One reading of one source: within its deadline, counted, and believed only when it is plausible."""

from __future__ import annotations

import logging
from typing import NamedTuple

from tasker_health.clock import Clock
from tasker_health.counters import SourceCounts
from tasker_health.deadline import within
from tasker_health.errors import SourceFault
from tasker_health.model import Facts, Reason, SourceDetail
from tasker_health.naming import bounded
from tasker_health.plausible import plausible_work
from tasker_health.reasons import reason_of, words_of
from tasker_health.sources import Source

log = logging.getLogger(__name__)

COUNTS = (
    *("pending", "running", "completed", "failed", "cancelled", "other", "blocked", "stuck", "retry_queue"),
    *("in_backoff", "window_completed", "window_failed", "retries_settled", "retries_succeeded"),
    *("oldest_pending_seconds", "drift"),
)
"""The figures of facts that must be counts, or `None`."""

_GRACE_SECONDS = 0.1
"""How much longer than its deadline a source may take before it is left to itself."""


class Entry(NamedTuple):
    """What is known of a source.

    Attributes:
        facts: The newest facts; `None`: never read.
        read_at: Wall-clock time of their reading, seconds since the epoch, for people.
        read_at_monotonic: The same moment on the monotonic clock of this process, for measuring age.
        fault: Why the reading after them failed.
        own: Whether this process has read them, and not another one.
    """

    facts: Facts | None
    read_at: float
    read_at_monotonic: float
    fault: Reason | None = None
    own: bool = True


class Fetch:
    """Reads one source.

    Args:
        source: What is read.
        timeout_seconds: How long that may take.
        clock: Tells when it was read.
        counts: Where readings are counted.

    Attributes:
        fault: Why the latest reading failed, here or elsewhere; `None`: it did not.
        detail: What is known of the last reading here, for those who may see it.
    """

    def __init__(self, source: Source, timeout_seconds: float, clock: Clock, counts: SourceCounts) -> None:
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._counts = counts
        self.fault: Reason | None = None
        self.detail: SourceDetail = SourceDetail(error=None, read_time_ms=None)

    async def __call__(self) -> Entry:
        """Return what the source answers, and when that was true.

        Raises:
            Exception: What it raised; `SourceFault` when it answered something else than facts.
        """
        seconds = self._timeout_seconds
        self._counts.reads += 1
        # The moment before the snapshot: an age that is wrong is wrong on the safe side.
        read_at, read_at_monotonic = self._clock.now(), self._clock.monotonic()
        try:
            facts = await _named(_plausible(await within(self._source.read(seconds), seconds + _GRACE_SECONDS)))
        except Exception as error:
            reason = reason_of(error)
            self._counts.failed(reason)
            self.note(reason, words_of(error))
            self.detail = SourceDetail(error=words_of(error), read_time_ms=self._since(read_at_monotonic))
            raise
        finally:
            self._counts.durations.ran(self._clock.monotonic() - read_at_monotonic)
        self.detail = SourceDetail(error=None, read_time_ms=self._since(read_at_monotonic))
        self.note(None, "")
        return Entry(facts, read_at - facts.age_seconds, read_at_monotonic - facts.age_seconds)

    def _since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)

    def note(self, fault: Reason | None, detail: str) -> None:
        """Remember *fault*, and log it when it is not the one that was there already."""
        if fault is not self.fault:
            if fault is None:
                log.warning("source %s: readable again", self._source.name)
            else:
                log.warning("source %s: cannot be read (%s): %s", self._source.name, fault, detail)
        self.fault = fault


def _plausible(facts: Facts) -> Facts:
    """Return *facts* when they are some: what a source of the user's answers is cached only then."""
    if not isinstance(facts, Facts):
        raise SourceFault(Reason.INVALID, f"read answered {type(facts).__name__}; it must answer Facts")
    for name in COUNTS:
        value = getattr(facts, name)
        if isinstance(value, bool | float | str) or (isinstance(value, int) and value < 0):
            raise SourceFault(Reason.INVALID, f"{name} = {value!r}; it must be a count or None")
    return plausible_work(facts)


async def _named(facts: Facts) -> Facts:
    """Return *facts* with names that can be told, and not too many of them."""
    try:
        return await bounded(facts)
    except (AttributeError, TypeError, ValueError) as error:
        told = "tasks_by_state, steps_by_state and groups must be counts by name, or None"
        raise SourceFault(Reason.INVALID, f"{told}: {error}") from None
