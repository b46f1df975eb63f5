"""Steps that had failed before and settled within the window: how many, and how many of them well."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import copy

Steps = list[tuple[int, bool]]
"""When each has settled, in milliseconds since the epoch, and whether well."""


class Retried:
    """Counts them by time buckets of *width_ms*, and remembers whose they are: a task may go on, and change its mind.

    Attributes:
        settled, succeeded: How many within the window.
    """

    def __init__(self, width_ms: int) -> None:
        self.settled: int = 0
        self.succeeded: int = 0
        self._width_ms = width_ms
        self._first: float = -math.inf
        self._steps: dict[str, Steps] = {}
        self._buckets: dict[int, dict[str, None]] = {}

    def forget_tasks(self, names: Iterable[str]) -> None:
        """Let go of the steps of tasks."""
        for name in names:
            for step in self._steps.pop(name, ()):
                self._count(step, -1)

    def add(self, name: str, step: tuple[int, bool]) -> None:
        """Add a *step* of the task *name*."""
        bucket = step[0] // self._width_ms
        if bucket >= self._first:
            self._steps.setdefault(name, []).append(step)
            self._buckets.setdefault(bucket, {})[name] = None
            self._count(step, 1)

    def forget(self, first: int) -> None:
        """Let go of what settled before the bucket *first*."""
        if first <= self._first:
            return
        for bucket in [bucket for bucket in self._buckets if bucket < first]:
            for name in self._buckets.pop(bucket):
                self._forget_old(name, first)
        self._first = first

    def apart(self) -> Retried:
        """Return the same, to go on with apart from this one."""
        other = copy(self)
        other._steps = {name: list(steps) for name, steps in self._steps.items()}  # noqa: SLF001 -- its own kind
        other._buckets = {bucket: dict(names) for bucket, names in self._buckets.items()}  # noqa: SLF001 -- its own kind
        return other

    def _forget_old(self, name: str, first: int) -> None:
        kept: Steps = []
        for step in self._steps.pop(name, ()):
            if step[0] // self._width_ms < first:
                self._count(step, -1)
            else:
                kept.append(step)
        if kept:
            self._steps[name] = kept

    def _count(self, step: tuple[int, bool], sign: int) -> None:
        self.settled += sign
        self.succeeded += sign * step[1]
