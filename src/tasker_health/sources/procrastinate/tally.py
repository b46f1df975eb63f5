"""The tally: what has ended, by state, and what arrived and ended lately; exact up to the ids that are settled."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from copy import copy
from typing import Any, NamedTuple

from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.sources.procrastinate.tables import Keys
from tasker_health.sources.window import MOST_BUCKETS
from tasker_health.work import OUTCOME_MINUTES

ENDS = {"succeeded": "completed", "failed": "failed", "aborted": "failed"}
"""Events with which a job ends well or in error, and how that is called here."""

_ENDING = frozenset({*ENDS, "cancelled"})


class Sums(NamedTuple):
    """What happened in one queue within some time; see `Facts`."""

    arrived: int = 0
    ended: int = 0
    completed: int = 0
    failed: int = 0
    timed_tasks: int = 0
    task_ms: int = 0
    timed_steps: int = 0
    step_ms: int = 0
    retries_settled: int = 0
    retries_succeeded: int = 0

    def plus(self, other: Sums, sign: int = 1) -> Sums:
        """Return both together; with -1, this one without the other."""
        return Sums(*(mine + sign * its for mine, its in zip(self, other, strict=True)))


class Kind(NamedTuple):
    """What ended within one minute: of which task and queue."""

    minute: int
    task: str
    queue: str


class Moves:
    """What happened between some ids, added up.

    Attributes:
        jobs: How many jobs are new.
        ended: How many ended, less those that were retried by hand, by the engine's state.
        buckets: What happened, by bucket of time and by queue.
        outcomes: How many ended well and in error, by minute, task and queue.
        lengths: How many executions took so long, by minute, task and class of length.
    """

    def __init__(self) -> None:
        self.jobs: int = 0
        self.ended: Counter[str] = Counter()
        self.buckets: dict[int, dict[str, Sums]] = {}
        self.outcomes: dict[Kind, tuple[int, int]] = {}
        self.lengths: dict[int, Counter[tuple[str, int]]] = {}

    def take(self, row: Any) -> None:
        """Add a *row* of the events."""
        number = int(row.number)
        if row.kind == "retried":
            self.ended["failed"] -= number
            return
        if row.kind in _ENDING:
            self.ended[row.kind] += number
        elif row.kind != "deferred":
            # A job that waited was changed to a state that no event tells; the total shows that.
            return
        how = ENDS.get(row.kind)
        again = int(row.again)
        sums = Sums(
            arrived=number if row.kind == "deferred" else 0,
            ended=number if row.kind in _ENDING else 0,
            completed=number if how == "completed" else 0,
            failed=number if how == "failed" else 0,
            timed_tasks=int(row.timed_tasks),
            task_ms=int(row.task_ms),
            timed_steps=int(row.timed_steps),
            step_ms=int(row.step_ms),
            retries_settled=again,
            retries_succeeded=again if how == "completed" else 0,
        )
        queues = self.buckets.setdefault(int(row.bucket), {})
        queues[row.queue] = queues.get(row.queue, Sums()).plus(sums)
        if how is not None:
            kind = Kind(int(row.minute), row.task, row.queue)
            completed, failed = self.outcomes.get(kind, (0, 0))
            self.outcomes[kind] = completed + sums.completed, failed + sums.failed
        if row.length is not None:
            self.lengths.setdefault(int(row.minute), Counter())[row.task, int(row.length)] += int(row.timed_steps)

    def add(self, other: Moves) -> None:
        """Take in *other*."""
        self.jobs += other.jobs
        self.ended.update(other.ended)
        for bucket, queues in other.buckets.items():
            mine = self.buckets.setdefault(bucket, {})
            for queue, sums in queues.items():
                mine[queue] = mine.get(queue, Sums()).plus(sums)
        for kind, (completed, failed) in other.outcomes.items():
            before = self.outcomes.get(kind, (0, 0))
            self.outcomes[kind] = before[0] + completed, before[1] + failed
        for minute, lengths in other.lengths.items():
            self.lengths.setdefault(minute, Counter()).update(lengths)


class Tally:
    """What is known of everything up to the ids *low*, and of what was above them at the last poll.

    Attributes:
        low: Everything up to these ids is in `settled`, and nothing above them.
        settled: Of everything before them; of the window what is within it.
        above: What is above them.
        alive: How many jobs are alive, and how many have a state that nothing is known of, by state.
    """

    def __init__(self, low: Keys, window_seconds: float) -> None:
        self.low: Keys = low
        self.window_seconds = window_seconds
        self.width: float = max(1.0, window_seconds / MOST_BUCKETS)
        self.settled: Moves = Moves()
        self.above: Moves = Moves()
        self.alive: Counter[str] = Counter()
        self._total: dict[str, Sums] = {}

    @property
    def total(self) -> int:
        """Every job, by their ids."""
        return self.settled.jobs + self.above.jobs

    @property
    def states(self) -> Counter[str]:
        """How many jobs are in each of the engine's states."""
        states = self.settled.ended.copy()
        states.update(self.above.ended)
        states.update(self.alive)
        return states

    @property
    def balanced(self) -> bool:
        """Whether there are as many jobs as are in some state; otherwise one was changed without an event."""
        return self.total == sum(self.states.values()) and min(self.states.values(), default=0) >= 0

    def since(self, now: float) -> float:
        """Return when the oldest bucket of the window that ends *now* begins."""
        return self._first(now) * self.width

    def fold(self, since: Keys, low: Keys, moves: Moves) -> None:
        """Take in for good what happened from the ids *since* up to the ids *low*.

        Raises:
            SourceFault: Another poll has taken in some of it meanwhile: one that was given up, and ended all the same.
        """
        if since != self.low:
            raise SourceFault(Reason.TIMEOUT, "an earlier poll has ended only now")
        self.settled.add(moves)
        for queues in moves.buckets.values():
            self._count(queues, 1)
        self.low = low

    def forget(self, now: float) -> None:
        """Let go of what is older than the window."""
        settled, first = self.settled, self._first(now)
        for bucket in [bucket for bucket in settled.buckets if bucket < first]:
            self._count(settled.buckets.pop(bucket), -1)
        oldest = math.floor(now / 60) - OUTCOME_MINUTES + 1
        for kind in [kind for kind in settled.outcomes if kind.minute < oldest]:
            del settled.outcomes[kind]
        first_minute = self._first_minute(now)
        for minute in [minute for minute in settled.lengths if minute < first_minute]:
            del settled.lengths[minute]

    def window(self, now: float) -> dict[str, Sums]:
        """Return what happened within the window that ends *now*, by queue."""
        total, first = dict(self._total), self._first(now)
        for bucket, queues in self.above.buckets.items():
            if bucket >= first:
                for queue, sums in queues.items():
                    total[queue] = total.get(queue, Sums()).plus(sums)
        return {queue: sums for queue, sums in total.items() if any(sums)}

    def outcomes(self, now: float) -> dict[Kind, tuple[int, int]]:
        """Return how many ended well and in error in the minutes that are told."""
        both = Moves()
        both.outcomes = dict(self.settled.outcomes)
        both.add(self.above)
        oldest = math.floor(now / 60) - OUTCOME_MINUTES + 1
        return {kind: ended for kind, ended in both.outcomes.items() if kind.minute >= oldest}

    def lengths(self, tasks: Iterable[str], now: float) -> dict[str, Counter[int]]:
        """Return how many executions of *tasks* took so long, by task and class of length."""
        wanted, found = set(tasks), defaultdict[str, Counter[int]](Counter)
        first = self._first_minute(now)
        for lengths in (self.settled.lengths, self.above.lengths):
            for minute, counted in lengths.items() if wanted else ():
                if minute >= first:
                    for (task, length), number in counted.items():
                        if task in wanted:
                            found[task][length] += number
        return found

    def apart(self) -> Tally:
        """Return a tally of the same, to go on with apart from this one."""
        other = copy(self)
        other.settled = Moves()
        other.settled.add(self.settled)
        other._total = dict(self._total)  # noqa: SLF001 -- its own kind
        return other

    def _first(self, now: float) -> int:
        return math.floor((math.floor(now / self.width) * self.width - self.window_seconds) / self.width)

    def _first_minute(self, now: float) -> int:
        return math.floor((now - self.window_seconds) / 60)

    def _count(self, queues: dict[str, Sums], sign: int) -> None:
        for queue, sums in queues.items():
            total = self._total.get(queue, Sums()).plus(sums, sign)
            self._total[queue] = total
            if not any(total):
                del self._total[queue]
