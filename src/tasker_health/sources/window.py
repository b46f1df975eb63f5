"""What ended within the window: sums by time buckets, added to as it ends, and let go as it grows old."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import copy
from operator import add, sub
from typing import NamedTuple

MOST_BUCKETS = 3600


class Ended(NamedTuple):
    """What ended: tasks completed and failed, and of tasks and steps completed how many took how long altogether."""

    completed: int = 0
    failed: int = 0
    timed_tasks: int = 0
    task_ms: int = 0
    timed_steps: int = 0
    step_ms: int = 0

    def plus(self, other: Ended) -> Ended:
        """Return both together."""
        return Ended(*map(add, self, other))

    def minus(self, other: Ended) -> Ended:
        """Return this one without the other."""
        return Ended(*map(sub, self, other))


Buckets = dict[int, Ended]


class Window:
    """Sums of what ended within the last *seconds*, by buckets of *bucket_seconds*; as a rule of at least a second.

    Attributes:
        bucket_seconds: Width of a bucket.
        buckets: What ended, by bucket: the second since the epoch divided by the width.
    """

    def __init__(self, seconds: float, bucket_seconds: float | None = None) -> None:
        self.seconds = seconds
        self.bucket_seconds: float = bucket_seconds or max(1.0, seconds / MOST_BUCKETS)
        self.buckets: Buckets = {}
        self._sum = Ended()
        self._first: float = -math.inf

    def first_bucket(self, now: float) -> int:
        """Return the oldest bucket of the window that ends *now*, in seconds since the epoch."""
        width = self.bucket_seconds
        return math.floor((math.floor(now / width) * width - self.seconds) / width)

    def add(self, ended: Iterable[tuple[int, Ended]]) -> None:
        """Add what *ended*, by bucket."""
        for bucket, more in ended:
            if bucket < self._first:
                continue
            self.buckets[bucket] = self.buckets.get(bucket, Ended()).plus(more)
            self._sum = self._sum.plus(more)

    def forget(self, now: float) -> None:
        """Let go of what is older than the window."""
        first = self.first_bucket(now)
        if first <= self._first:
            return
        self._first = first
        for bucket in [bucket for bucket in self.buckets if bucket < first]:
            self._sum = self._sum.minus(self.buckets.pop(bucket))

    def total(self, now: float, more: Iterable[tuple[int, Ended]] = ()) -> Ended:
        """Return what ended within the window that ends *now*, with *more* that is not added for good."""
        self.forget(now)
        first = self.first_bucket(now)
        total = self._sum
        for bucket, ended in more:
            if bucket >= first:
                total = total.plus(ended)
        return total

    def apart(self) -> Window:
        """Return a window of the same, to go on with apart from this one."""
        other = copy(self)
        other.buckets = dict(self.buckets)
        return other
