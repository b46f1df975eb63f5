"""What was accepted and how work has ended lately, minute by minute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from tasker_health.sources.outcomes import outcomes_of
from tasker_health.work import OUTCOME_MINUTES, Outcome

MINUTE_MS = 60_000


class Kind(NamedTuple):
    """What has ended within one minute since the epoch."""

    minute: int
    handler: str | None
    queue: str | None
    version: str | None


class Recent:
    """Counts by minutes.

    Attributes:
        arrived: How many tasks were created.
        ended: How many have ended, by minute and queue.
        completed, failed: How many have ended well and badly, by kind, in the last `OUTCOME_MINUTES`.
    """

    def __init__(self) -> None:
        self.arrived: Counter[int] = Counter()
        self.ended: Counter[tuple[int, str | None]] = Counter()
        self.completed: Counter[Kind] = Counter()
        self.failed: Counter[Kind] = Counter()

    def take(self, row: Any) -> None:
        """Add a *row* of the query."""
        if row.kind == "arrived":
            self.arrived[row.minute] += row.number
            return
        kind = Kind(row.minute, row.name, row.queue, row.version)
        self.ended[row.minute, row.queue] += row.number
        if row.completed:
            self.completed[kind] += row.completed
        if row.failed:
            self.failed[kind] += row.failed

    def plus(self, other: Recent) -> Recent:
        """Return both together."""
        both = self.apart()
        both.add(other)
        return both

    def add(self, other: Recent) -> None:
        """Take in what the *other* has."""
        self.arrived.update(other.arrived)
        self.ended.update(other.ended)
        self.completed.update(other.completed)
        self.failed.update(other.failed)

    def forget(self, now: int, window_ms: int) -> None:
        """Let go of what is older than the window, and of the outcomes that are told no more; *now* in milliseconds."""
        first, last = first_minute(now, window_ms), now // MINUTE_MS
        self.arrived = _since(self.arrived, first)
        self.ended = Counter({key: number for key, number in self.ended.items() if key[0] >= first})
        self.completed = _of(self.completed, last)
        self.failed = _of(self.failed, last)

    def apart(self) -> Recent:
        """Return the same, to go on with apart from this one."""
        other = copy(self)
        other.arrived, other.ended = self.arrived.copy(), self.ended.copy()
        other.completed, other.failed = self.completed.copy(), self.failed.copy()
        return other

    def ended_of(self) -> Counter[str | None]:
        """Return how many have ended, by queue."""
        queues: Counter[str | None] = Counter()
        for (_, queue), number in self.ended.items():
            queues[queue] += number
        return queues

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return how work has ended: of each minute the kinds with the most of it, and the rest as `other`."""
        return outcomes_of(
            Outcome(*kind, completed=self.completed[kind], failed=self.failed[kind])
            for kind in self.completed.keys() | self.failed.keys()
        )


def first_minute(now: int, window_ms: int) -> int:
    """Return the minute in which the window begins that ends *now*, in milliseconds since the epoch."""
    return math.floor((now - window_ms) / MINUTE_MS)


def _since(counts: Mapping[int, int], first: int) -> Counter[int]:
    return Counter({minute: number for minute, number in counts.items() if minute >= first})


def _of(counts: Mapping[Kind, int], last: int) -> Counter[Kind]:
    return Counter({kind: number for kind, number in counts.items() if kind.minute > last - OUTCOME_MINUTES})
