"""What came of all requests on one endpoint: every latency, exactly, and how many of what.

A run has a limit of requests, so each one's times are kept as they are, 25 bytes each: percentiles are those of the
sorted list and need no approximation.
"""

from __future__ import annotations

import bisect
import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
BOUNDS_MS = (0.5, 1, 2, 5, 8, 10, 15, 20, 50, 80, 100, 120, 200, 500, 1000, 2000, 5000, 10_000, 30_000)
"""Upper bounds of the bars of a histogram; all that is promised is among them."""

SLOWEST = 10
PLAIN, CACHED, UNCACHED = 0, 1, 2


class Outcome(NamedTuple):
    """What came of one request.

    Attributes:
        code: Of HTTP; 0: no whole answer came.
        fault: Why it is no good answer, a word of the list in docs/load-test.md; empty: it is one.
        kind: `CACHED` or `UNCACHED` where the answer says so, else `PLAIN`.
        is_unhealthy: Whether it is a true answer that something is wrong: 503 of ready or status.
    """

    code: int
    fault: str = ""
    kind: int = PLAIN
    is_unhealthy: bool = False


class Times(NamedTuple):
    """When one request was due, when it was sent and when its answer was there, in seconds from the start."""

    due: float
    sent: float
    ended: float

    @property
    def latency_ms(self) -> float:
        """From when it was due."""
        return (self.ended - self.due) * 1000

    @property
    def service_ms(self) -> float:
        """From when it was sent."""
        return (self.ended - self.sent) * 1000


class Slow(NamedTuple):
    """One of the slowest answers."""

    latency_ms: float
    endpoint: str
    due_seconds: float
    late_ms: float
    code: int
    fault: str


@dataclass
class Record:
    """All requests on one endpoint.

    Attributes:
        endpoint: Which.
        due_seconds: When each was due, from the start.
        latency_ms: How long after that its answer was there, or was given up.
        service_ms: The same from when it was sent.
        kinds: Whether each answer was cached.
        codes: How many answers of each code.
        faults: How many of each fault.
        unhealthy: How many true answers that something is wrong.
        unfinished: How many were under way when the run was ended early.
        slowest: The slowest of all, the fastest of them first.
    """

    endpoint: str
    due_seconds: array[float] = field(default_factory=lambda: array("d"))
    latency_ms: array[float] = field(default_factory=lambda: array("d"))
    service_ms: array[float] = field(default_factory=lambda: array("d"))
    kinds: bytearray = field(default_factory=bytearray)
    codes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unhealthy: int = 0
    unfinished: int = 0
    first_sent: float = math.inf
    last_ended: float = 0.0
    slowest: list[Slow] = field(default_factory=list)

    def add(self, times: Times, outcome: Outcome) -> None:
        """Keep what came of one request."""
        self.due_seconds.append(times.due)
        self.latency_ms.append(times.latency_ms)
        self.service_ms.append(times.service_ms)
        self.kinds.append(outcome.kind)
        if outcome.code:
            self.codes[outcome.code] += 1
        if outcome.fault:
            self.faults[outcome.fault] += 1
        self.unhealthy += outcome.is_unhealthy
        self.first_sent = min(self.first_sent, times.sent)
        self.last_ended = max(self.last_ended, times.ended)
        late_ms = (times.sent - times.due) * 1000
        slow = Slow(times.latency_ms, self.endpoint, times.due, late_ms, outcome.code, outcome.fault)
        if len(self.slowest) < SLOWEST:
            heapq.heappush(self.slowest, slow)
        elif slow > self.slowest[0]:
            heapq.heapreplace(self.slowest, slow)

    @property
    def count(self) -> int:
        """How many requests have ended."""
        return len(self.latency_ms)

    @property
    def per_second(self) -> float:
        """How many ended a second, from the first that was sent to the last that ended."""
        seconds = self.last_ended - self.first_sent
        return self.count / seconds if self.count and seconds > 0 else 0.0

    def of_kind(self, kind: int) -> list[float]:
        """Return the latencies of the answers of *kind*, in milliseconds."""
        return [ms for ms, each in zip(self.latency_ms, self.kinds, strict=True) if each == kind]


class Spread(NamedTuple):
    """How latencies are spread, in milliseconds; `None` where there are none."""

    mean: float | None
    percentiles: dict[str, float | None]
    max: float | None


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the least value of *ordered* that *percent* of all do not exceed (nearest rank); `None` of no value."""
    if not ordered:
        return None
    # Rounded first: 0.999 * 1000 is 999.0000000000001 in floating point, and would be the thousandth.
    rank = math.ceil(round(percent * len(ordered) / 100, 9))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def spread(values: Iterable[float]) -> Spread:
    """Return how *values* are spread."""
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered) if ordered else None
    found = {f"{percent:g}": percentile(ordered, percent) for percent in PERCENTILES}
    return Spread(mean, found, ordered[-1] if ordered else None)


def histogram(values: Iterable[float]) -> list[int]:
    """Return how many of *values* each bar has: at most its bound, more than the one before; the last is beyond all."""
    bars = [0] * (len(BOUNDS_MS) + 1)
    for value in values:
        bars[bisect.bisect_left(BOUNDS_MS, value)] += 1
    return bars


def merged(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return the histogram of the values of all *histograms* together."""
    return [sum(bars) for bars in zip([0] * (len(BOUNDS_MS) + 1), *histograms, strict=True)]


class Slot(NamedTuple):
    """A piece of the run: when it began, how many requests were due in it, and how long those took."""

    begins_seconds: float
    requests: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


def over_time(record: Record, seconds: float, slots: int = 60) -> list[Slot]:
    """Return *record* in *slots* pieces of equal length, by when each request was due."""
    width = seconds / slots if seconds > 0 else 1.0
    found: list[list[float]] = [[] for _ in range(slots)]
    for due, ms in zip(record.due_seconds, record.latency_ms, strict=True):
        found[min(max(int(due / width), 0), slots - 1)].append(ms)
    pieces = []
    for number, values in enumerate(found):
        values.sort()
        ends = (percentile(values, 50), percentile(values, 99), values[-1] if values else None)
        pieces.append(Slot(number * width, len(values), *ends))
    return pieces
