"""The tally: exact counts up to the settled ids, what is alive and failing, and what ended lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import copy
from typing import NamedTuple

from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.sources import State
from tasker_health.sources.recent import MINUTE_MS, Recent, first_minute
from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.window import Buckets, Window

PENDING = "pending"
STATES: dict[str, State] = {
    PENDING: "pending",
    "in_progress": "running",
    "complete": "completed",
    "resolved_manually": "completed",
    "error": "failed",
    "cancelled": "cancelled",
}
"""The state of the contract for each of Tasker's; any other is `other`."""

OTHER = "other"

Key = tuple[int | None, str]
"""A group (a named task; `None`: not asked for) and a state."""


class Failing(NamedTuple):
    """A step in error of a task that is alive.

    Attributes:
        step_id, task_id: Which.
        final: Whether it has failed for good.
        waits: Whether it will be tried again by itself.
        due: From when on, in seconds since the epoch.
    """

    step_id: int
    task_id: int
    final: bool
    waits: bool
    due: float


class Settled(NamedTuple):
    """A step that had failed before and has settled, or has failed again.

    Attributes:
        at: When, in seconds since the epoch.
        counts: Whether it has settled; if not, its failure may become final without a transition.
        done: Whether it is complete, by itself or by hand: nothing but a transition changes that.
        succeeded: Whether it has succeeded by itself.
    """

    at: float
    counts: bool
    done: bool
    succeeded: bool


class Counts:
    """How many entities are in each state: each new one is pending, and each transition moves one."""

    def __init__(self) -> None:
        self.tasks: Counter[Key] = Counter()
        self.steps: Counter[str] = Counter()

    def copy(self) -> Counts:
        """Return the same counts, to go on with apart."""
        other = Counts()
        other.tasks, other.steps = self.tasks.copy(), self.steps.copy()
        return other

    def plus(self, moves: Moves, sign: int = 1) -> Counts:
        """Return the counts after *moves*; with -1, before them."""
        other = self.copy()
        for group, number in moves.new_tasks:
            other.tasks[group, PENDING] += sign * number
        for group, before, after, number in moves.tasks:
            other.tasks[group, before] -= sign * number
            other.tasks[group, after] += sign * number
        other.steps[PENDING] += sign * moves.new_steps
        for before, after, number in moves.steps:
            other.steps[before] -= sign * number
            other.steps[after] += sign * number
        return other

    def tasks_by_state(self) -> dict[str, int]:
        """Return how many tasks are in each state."""
        return _by_known_state((state, number) for (_, state), number in self.tasks.items())

    def steps_by_state(self) -> dict[str, int]:
        """Return how many steps are in each state."""
        return _by_known_state(self.steps.items())


class Moves:
    """What has become visible above some ids: new entities and transitions, added up.

    Attributes:
        new_tasks: New tasks by group.
        tasks: Transitions of tasks: group, state before, state after, how many.
        new_steps: How many new steps.
        steps: Transitions of steps: state before, state after, how many.
        firsts: How many transitions are the first of their entity.
        rows: How many rows these are.
    """

    def __init__(self) -> None:
        self.new_tasks: list[tuple[int | None, int]] = []
        self.tasks: list[tuple[int | None, str, str, int]] = []
        self.new_steps = 0
        self.steps: list[tuple[str, str, int]] = []
        self.firsts = 0
        self.rows = 0

    def __bool__(self) -> bool:
        return bool(self.new_tasks or self.tasks or self.new_steps or self.steps)


class Tally:
    """What is known of everything up to the ids *low*, and of what is alive or ended lately at the last poll.

    Attributes:
        low: Everything up to these ids is in `counts` and `window`, and nothing above them.
        counts: How many are in each state.
        window: What ended lately.
        running: When each task that is in progress has last changed, in seconds since the epoch.
        failing: Steps in error of tasks that are alive, by their ids.
        blocked: Tasks that cannot move by themselves.
        recent: What was accepted and has ended lately, minute by minute.
        rows, firsts: How many rows were folded in, and how many of them were the first transition of their entity.
        settled: Steps that had failed before and have settled within the window, by their ids.
        oldest_pending: Id and creation (seconds since the epoch) of the pending task with the smallest id.
        pending_from: No task with a smaller id is pending.
    """

    def __init__(self, low: Ids, window_seconds: float) -> None:
        self.low: Ids = low
        self.counts: Counts = Counts()
        self.window: Window = Window(window_seconds)
        self.running: dict[int, float] = {}
        self.failing: dict[int, Failing] = {}
        self.blocked: frozenset[int] = frozenset()
        self.recent: Recent = Recent()
        self.rows: int = 0
        self.firsts: int = 0
        self.settled: dict[int, Settled] = {}
        self.oldest_pending: tuple[int, float] | None = None
        self.pending_from = 0

    @property
    def window_ms(self) -> int:
        """The window, in milliseconds."""
        return round(self.window.seconds * 1000)

    def since_minute(self, now: float) -> float:
        """Return when the minute begins in which the window that ends *now* begins, in seconds since the epoch."""
        return first_minute(round(now * 1000), self.window_ms) * MINUTE_MS / 1000

    def apart(self) -> Tally:
        """Return a tally of the same, to go on with apart from this one."""
        other = copy(self)
        other.counts = self.counts.copy()
        other.window, other.recent = self.window.apart(), self.recent.apart()
        other.running, other.failing, other.settled = dict(self.running), dict(self.failing), dict(self.settled)
        return other

    def fold(self, since: Ids, low: Ids, moves: Moves, ended: Buckets, recent: Recent) -> None:
        """Take in for good what happened from the ids *since* up to the ids *low*.

        Raises:
            SourceFault: Another poll has taken in some of it meanwhile: one that was given up, and ended all the same.
        """
        if since != self.low:
            raise SourceFault(Reason.TIMEOUT, "an earlier poll has ended only now")
        self.counts = self.counts.plus(moves)
        self.rows += moves.rows
        self.firsts += moves.firsts
        self.window.add(ended.items())
        self.recent.add(recent)
        self.low = low

    def touch_tasks(self, touched: Iterable[int], running: Iterable[tuple[int, float]]) -> None:
        """Forget what was known of the tasks *touched*, and learn which of them are in progress, and since when."""
        for task_id in touched:
            self.running.pop(task_id, None)
        self.running.update(running)

    def touch_steps(self, touched: Iterable[int], settled: Iterable[tuple[int, Settled]]) -> None:
        """The same of steps that had failed before and have settled."""
        for step_id in touched:
            self.settled.pop(step_id, None)
        self.settled.update(settled)

    def forget(self, now: float) -> None:
        """Let go of what is older than the window."""
        self.window.forget(now)
        self.recent.forget(round(now * 1000), self.window_ms)
        first = self.window.first_bucket(now) * self.window.bucket_seconds
        for step_id in [step_id for step_id, settled in self.settled.items() if settled.at < first]:
            del self.settled[step_id]


def _by_known_state(states: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return how many are in each state; a word that is none of Tasker's may be anything, and does not leave."""
    total: Counter[str] = Counter()
    for state, number in states:
        total[state if state in STATES else OTHER] += number
    return {state: number for state, number in sorted(total.items()) if number}
