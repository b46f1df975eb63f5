"""What this process has counted since it started: plain numbers, added to where things happen, read by exporters.

Everything runs on one event loop, so an increment needs no lock. Nothing here knows who reads it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from typing import NamedTuple

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histograms of time; what took longer is counted after the last one."""


class DurationCounts:
    """How often something ran, by how long it took.

    Attributes:
        by_bucket: Runs by the first bound of `BUCKETS_SECONDS` that they did not exceed.
        seconds: How long they took altogether.
        recent: How long each took, for a reader that needs them one by one: it sets the queue, bounds it and takes out.
    """

    __slots__ = ("by_bucket", "recent", "seconds")

    def __init__(self) -> None:
        self.by_bucket: list[int] = [0] * (len(BUCKETS_SECONDS) + 1)
        self.seconds: float = 0.0
        self.recent: deque[float] | None = None

    def ran(self, seconds: float) -> None:
        """Count one run."""
        self.by_bucket[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.seconds += seconds
        if self.recent is not None:
            self.recent.append(seconds)


class CheckCounts(DurationCounts):
    """How often and how long one check has run.

    Attributes:
        timeouts: How many of its runs ended with `timeout`.
    """

    __slots__ = ("timeouts",)

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: int = 0


class SourceCounts:
    """How often the facts of one source were looked up and read.

    Attributes:
        hits, misses: Lookups that found facts young enough, and those that did not.
        reads: Readings of the source that were begun.
        errors: Readings that failed, by reason.
        durations: How long readings took, whether they failed or not.
    """

    __slots__ = ("durations", "errors", "hits", "misses", "reads")

    def __init__(self) -> None:
        self.hits: int = 0
        self.misses: int = 0
        self.reads: int = 0
        self.errors: dict[str, int] = {}
        self.durations: DurationCounts = DurationCounts()

    def failed(self, reason: str) -> None:
        """Count a reading that failed with *reason*."""
        self.errors[reason] = self.errors.get(reason, 0) + 1


class CacheCounts:
    """How often the shared cache was asked.

    Args:
        back_end: Its name; `memory` is of this process alone and can be in no trouble.

    Attributes:
        requests: By what was asked and what came of it: `ok`, `failed`, or `skipped` as it was to be left alone.
        faults: What failed, by reason; `missing` also when what was put was not kept.
        refused_entries: Entries that were not believed, by why.
    """

    __slots__ = ("back_end", "faults", "refused_entries", "requests")

    def __init__(self, back_end: str = "memory") -> None:
        self.back_end: str = back_end
        self.requests: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.refused_entries: Counter[str] = Counter()


class AccessCounts:
    """Who was not let in.

    Attributes:
        authentication_failures: Callers without valid credentials where they were needed.
        authorization_failures: Callers who are known, but not permitted.
        faults: Times that the authenticator or the coordinator broke.
    """

    __slots__ = ("authentication_failures", "authorization_failures", "faults")

    def __init__(self) -> None:
        self.authentication_failures: int = 0
        self.authorization_failures: int = 0
        self.faults: int = 0


class DeliveryCounts:
    """What one exporter, or one channel of alerts, has brought to where it belongs.

    Attributes:
        results: How often by what came of it: `sent`, `failed` (an attempt that did not succeed), `refused` (for good).
        dropped: What nobody will get any more, by why: `full`, `expired`, `refused`.
        pending: How many wait now.
        error: What the last attempt failed of, for the doctor; `None`: it succeeded.
    """

    __slots__ = ("dropped", "error", "pending", "results")

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.pending: int = 0
        self.error: str | None = None


DELIVERY_RESULTS = ("sent", "failed", "refused")
DROP_REASONS = ("full", "expired", "refused")


class Counters:
    """The counts of one process.

    Attributes:
        checks, sources: The counts of each, by its name.
        cache: Those of the shared cache.
        loop_stalls: How often the event loop began to lag by more than the warning.
    """

    def __init__(self) -> None:
        self.checks: dict[str, CheckCounts] = {}
        self.sources: dict[str, SourceCounts] = {}
        self.cache: CacheCounts = CacheCounts()
        self.loop_stalls = 0

    def check(self, name: str) -> CheckCounts:
        """Return the counts of the check *name*."""
        return self.checks.setdefault(name, CheckCounts())

    def source(self, name: str) -> SourceCounts:
        """Return the counts of the source *name*."""
        return self.sources.setdefault(name, SourceCounts())


class Vitals(NamedTuple):
    """What the heartbeat and the guard of this process tell; `None` where there is none.

    Attributes:
        loop_lag_seconds: How late the last heartbeat of the event loop was.
        guard_restarts: How often the guard has been started again.
    """

    loop_lag_seconds: float | None = None
    guard_restarts: int | None = None
