"""When a worker is wedged though its process lives: it takes no work, though some waits that it could take.

A long task is no stall: whoever works on something takes nothing else. A broker that is away is none: nothing is known
of what waits. Only what was seen at every look, all the time, counts; one look at which nothing waited begins it anew.
"""

from __future__ import annotations

from collections.abc import Callable

from tasker_health.workers.attachment import Work


class StallWatch:
    """Looks at a worker, beat by beat.

    Args:
        stall_seconds: So long it takes no work before it is wedged.
        monotonic: The clock.
    """

    def __init__(self, stall_seconds: float, monotonic: Callable[[], float]) -> None:
        self._stall_seconds = stall_seconds
        self._monotonic = monotonic
        self._since: float | None = None
        self._ended = -1

    def is_idle(self, work: Work) -> bool:
        """Return whether it works on nothing: what runs in a process that is stopped or gone is nothing."""
        return all(each.halted for each in work.running) and work.running_count <= len(work.running)

    def look(self, work: Work, waiting: int | None) -> float:
        """Return for how many seconds it has been wedged; 0: it is not.

        Args:
            work: What it does.
            waiting: How much it could take now; `None`: not known.
        """
        now, ended = self._monotonic(), work.done + work.failed
        took_some, self._ended = ended != self._ended, ended
        if took_some or not waiting or not self.is_idle(work):
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        passed = now - self._since
        return passed if passed >= self._stall_seconds else 0.0
