"""The tally: exact counts below the settled keys, and what is alive, fails or has settled lately."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.sources.dbos.retried import Retried
from tasker_health.sources.dbos.tables import Keys
from tasker_health.sources.recent import MINUTE_MS, Recent, first_minute
from tasker_health.sources.window import MOST_BUCKETS, Buckets, Ended, Window

SUCCESS = "SUCCESS"
FAILED = frozenset({"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

States = Counter[str | None]


class Moves:
    """What is found between some keys, added up: what is settled there, or what is not.

    Attributes:
        tasks: How many tasks are new.
        ended: How many have ended, by state.
        buckets: What ended within the window.
        recent: What was accepted and has ended lately, minute by minute.
    """

    def __init__(self) -> None:
        self.tasks: int = 0
        self.ended: States = Counter()
        self.buckets: Buckets = {}
        self.recent = Recent()

    def take(self, row: Any) -> None:
        """Add a *row* of the queries."""
        if row.kind == "new":
            self.tasks += row.number
            return
        if row.kind == "ended":
            self.ended[row.status] += row.number
        self.buckets[row.bucket] = self.buckets.get(row.bucket, Ended()).plus(_ended(row))


class Tally:
    """What is known of everything below the keys *low*, and what was above them at the last poll.

    Attributes:
        low: Everything below these keys is in `tasks`, `ended` and `window`, and nothing above them.
        tasks: How many tasks there are.
        ended: How many of them have ended, by state.
        untimed: Those that are not alive, and of which nobody wrote down when they ended, by state.
        window, recent: What ended lately, and what was accepted.
        alive: How many are alive, by state.
        above: What is above the keys.
        running: When each task that runs has last changed, in milliseconds since the epoch.
        verified: Those of them that may be stuck, and have been looked at since anything was written.
        waiting: Tasks that are alive and whose last step has failed, and until when they sleep.
        retried: Steps that had failed before and settled within the window.
    """

    def __init__(self, low: Keys, window_ms: int) -> None:
        self.low: Keys = low
        self.width_ms: int = max(1000, math.ceil(window_ms / MOST_BUCKETS))
        self.window_ms = window_ms
        self.window: Window = Window(window_ms / 1000, self.width_ms / 1000)
        self.recent: Recent = Recent()
        self.tasks: int = 0
        self.ended: States = Counter()
        self.untimed: States = Counter()
        self.alive: States = Counter()
        self.above: Moves = Moves()
        self.running: dict[str, int] = {}
        self.verified: set[str] = set()
        self.waiting: dict[str, int] = {}
        self.retried: Retried = Retried(self.width_ms)

    @property
    def total(self) -> int:
        """Every task, by the keys of tasks."""
        return self.tasks + self.above.tasks

    @property
    def states(self) -> States:
        """How many are in each state."""
        return self.ended + self.untimed + self.alive + self.above.ended

    @property
    def balanced(self) -> bool:
        """Whether there are as many tasks as are in some state.

        A task that has come to life again is counted among the alive and among the ended ones; one that ended, or was
        created, earlier than can be, is counted only by one of the two.
        """
        return self.total == self.states.total()

    def since(self, now: int) -> int:
        """Return when the oldest bucket of the window that ends *now* begins."""
        return self.window.first_bucket(now / 1000) * self.width_ms

    def since_minute(self, now: int) -> int:
        """Return when the minute begins in which the window that ends *now* begins."""
        return first_minute(now, self.window_ms) * MINUTE_MS

    def apart(self) -> Tally:
        """Return a tally of the same, to go on with apart from this one."""
        other = copy(self)
        other.window, other.recent = self.window.apart(), self.recent.apart()
        other.ended, other.untimed, other.alive = self.ended.copy(), self.untimed.copy(), self.alive.copy()
        other.running, other.waiting, other.verified = dict(self.running), dict(self.waiting), set(self.verified)
        other.retried = self.retried.apart()
        return other

    def fold(self, since: Keys, low: Keys, moves: Moves) -> None:
        """Take in for good what is between the keys *since* and *low*.

        Raises:
            SourceFault: Another poll has taken in some of it meanwhile: one that was given up, and ended all the same.
        """
        if since != self.low:
            raise SourceFault(Reason.TIMEOUT, "an earlier poll has ended only now")
        self.tasks += moves.tasks
        self.ended.update(moves.ended)
        self.window.add(moves.buckets.items())
        self.recent.add(moves.recent)
        self.low = low

    def stuck(self, cutoff: int) -> set[str]:
        """Return what runs and has not changed since *cutoff*."""
        return {name for name, last in self.running.items() if last < cutoff}

    def touch_running(self, touched: Iterable[str], running: Sequence[Any]) -> None:
        """Forget what was known of the tasks *touched*, and learn which of them run, and since when."""
        for name in touched:
            self.running.pop(name, None)
        self.running.update((row.workflow_uuid, row.last) for row in running)

    def touch_waiting(self, touched: Iterable[str], waiting: Sequence[Any]) -> None:
        """The same of those whose last step has failed."""
        for name in touched:
            self.waiting.pop(name, None)
        self.waiting.update((row.workflow_uuid, row.due) for row in waiting)

    def touch_settled(self, touched: Iterable[str], settled: Sequence[Any]) -> None:
        """The same of steps that had failed before and have settled."""
        self.retried.forget_tasks(touched)
        for row in settled:
            self.retried.add(row.workflow_uuid, (row.ended, bool(row.succeeded)))

    def forget(self, now: int) -> None:
        """Let go of what is older than the window."""
        self.window.forget(now / 1000)
        self.recent.forget(now, self.window_ms)
        self.above.recent.forget(now, self.window_ms)
        self.retried.forget(self.window.first_bucket(now / 1000))


def _ended(row: Any) -> Ended:
    number, timed, total_ms = int(row.number), int(row.timed), int(row.total_ms)
    if row.kind == "step":
        return Ended(timed_steps=timed, step_ms=total_ms)
    if row.status == SUCCESS:
        return Ended(completed=number, timed_tasks=timed, task_ms=total_ms)
    return Ended(failed=number) if row.status in FAILED else Ended()
