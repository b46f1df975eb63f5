"""How much of an application is free for more, in percent, from the lateness of its heartbeats."""

from __future__ import annotations

from tasker_health.guard.memory import DRAINING
from tasker_health.guard.watch import SECOND, Watch, Worker

FULL, FLOOR = 100, 10
"""Of a loop that is not late at all, and of one that is late by the warning or by more."""

HALF_LIFE_NS = 2 * SECOND
"""How long it takes until half of a change is told: balancers that follow every heartbeat send traffic to and fro."""


def percent_free(lag_ns: int, warning_ns: int) -> float:
    """Return `FULL` without lag, `FLOOR` from *warning_ns* on, and what lies on the line between them."""
    return FULL - (FULL - FLOOR) * min(1.0, max(0, lag_ns) / warning_ns)


class Load:
    """The mean of all workers that serve, smoothed; one that stalls has nothing free.

    Args:
        watch: Knows who is alive.
        period_seconds: Of a heartbeat.
        warning_seconds: Lag from which `FLOOR` is told.
    """

    def __init__(self, watch: Watch, period_seconds: float, warning_seconds: float) -> None:
        self._watch = watch
        self._period_ns = int(period_seconds * SECOND)
        self._warning_ns = max(1, int(warning_seconds * SECOND))
        self._looked_at = -1
        self._free: float = FULL

    @property
    def percent_free(self) -> int:
        """From `FLOOR` to `FULL`."""
        return max(FLOOR, round(self._free))

    def look(self, now: int) -> None:
        """Take in what is true at *now*, by CLOCK_MONOTONIC in nanoseconds."""
        serving = [worker for worker in self._watch.workers if not worker.slot.flags & DRAINING]
        if not serving:
            self._looked_at = -1  # whoever comes next begins with a figure of its own
            return
        free = sum(self._free_of(worker, now) for worker in serving) / len(serving)
        if self._looked_at >= 0:
            free += (self._free - free) * 0.5 ** (max(0, now - self._looked_at) / HALF_LIFE_NS)
        self._looked_at, self._free = now, free

    def _free_of(self, worker: Worker, now: int) -> float:
        if not worker.fresh:
            return 0
        # A loop that is being held up has not yet told of it: its next heartbeat is overdue.
        overdue = now - max(worker.slot.beat_ns, self._watch.since) - self._period_ns
        return percent_free(max(worker.slot.lag_ns, overdue), self._warning_ns)
