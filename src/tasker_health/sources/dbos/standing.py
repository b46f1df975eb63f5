"""Which of what is alive stands still, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

from tasker_health.sources.dbos.alive import Alive, Waiting
from tasker_health.sources.dbos.owners import Owners, Running
from tasker_health.work import BLOCKING, Cause, StuckTask

_BY_WORKERS = (Cause.WORKER_DEAD, Cause.NO_WORKER_OF_VERSION, Cause.NO_WORKER)
_ALWAYS = (Cause.NOT_TAKEN, Cause.RUNNING_LONG, Cause.NO_PROGRESS)


class Standing:
    """What stands still at one moment.

    Args:
        alive: What was found.
        owners: Who works.
        unchanged: What runs and has not changed for long.
        now: The time, in milliseconds since the epoch.

    Attributes:
        running: Each workflow that runs, and why it stands still; `None`: it does not.
        waiting: The same of those that wait. Without a cause the old ones of them are `not_taken`.
        knows: Whether it is known who works.
    """

    def __init__(self, alive: Alive, owners: Owners, unchanged: AbstractSet[str], now: int) -> None:
        self.knows = owners.known
        self._limits = alive.limits
        self.running: list[tuple[Running, Cause | None]] = []
        for task in alive.running:
            cause = owners.cause_of_running(task, now)
            if cause is None and alive.runs_long(task, now):
                cause = Cause.RUNNING_LONG
            elif cause is None and task.id in unchanged:
                cause = Cause.NO_PROGRESS
            self.running.append((task, cause))
        held = self._held()
        self.waiting: list[tuple[Waiting, Cause | None]] = []
        for part in alive.waiting:
            cause = owners.cause_of_waiting(part.queue, part.version)
            self.waiting.append((part, Cause.LOCKED if cause is None and part.queue in held else cause))

    def causes(self) -> dict[Cause, int]:
        """Return how many stand still, by cause; those that can be seen are all there."""
        locks = (Cause.LOCKED,) if self.knows and self._limits is not None else ()
        causes = dict.fromkeys((*(_BY_WORKERS if self.knows else ()), *locks, *_ALWAYS), 0)
        for _, cause in self.running:
            if cause is not None:
                causes[cause] += 1
        for part, cause in self.waiting:
            if cause is None:
                causes[Cause.NOT_TAKEN] += part.old
            else:
                causes[cause] += part.number
        return causes

    def named(self, cause: Cause) -> list[StuckTask]:
        """Return those that run and stand still by *cause*, the oldest first."""
        those = sorted((task for task, why in self.running if why is cause), key=lambda each: (each.since, each.id))
        return [
            StuckTask(
                id=each.id,
                cause=cause,
                state="running",
                name=each.name,
                queue=each.queue,
                version=each.version,
                worker=each.worker,
                since=each.since / 1000,
            )
            for each in those
        ]

    def parts(self, cause: Cause) -> list[Waiting]:
        """Return what waits by *cause*."""
        wanted = None if cause is Cause.NOT_TAKEN else cause
        return [part for part, why in self.waiting if why is wanted]

    def _held(self) -> set[str]:
        """Return the queues whose places are all taken by those that cannot move: nothing else starts there."""
        taken: Counter[str] = Counter()
        moving: set[str] = set()
        for task, cause in self.running:
            if task.queue is not None:
                taken[task.queue] += 1
                if cause not in BLOCKING:
                    moving.add(task.queue)
        return {queue for queue, most in (self._limits or {}).items() if taken[queue] >= most > 0} - moving
