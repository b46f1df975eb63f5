"""Who works on DBOS' workflows, by the heartbeats of ours: DBOS has none of its own."""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.work import Cause
from tasker_health.workers import Worker, Workers, WorkerState

ENGINE = "dbos"

_GRACE_BEATS = 3
"""Who is asked before the snapshot does not know whoever has begun since: a task is given so many periods."""

_INTERNAL_QUEUE = "_dbos_internal_queue"
"""Every worker takes from it, and none names it."""


class Running(NamedTuple):
    """A workflow that runs; times are milliseconds since the epoch.

    Attributes:
        id, name, queue, version: Which.
        worker: Id of the executor that has it.
        since: When it was started.
        changed: When its row was last changed.
    """

    id: str
    name: str | None
    queue: str | None
    version: str | None
    worker: str | None
    since: int
    changed: int


class Owners:
    """Tells who is dead, and for whom nobody works, at one moment.

    Args:
        workers: Who has a heartbeat; `None`: it cannot be known.

    Attributes:
        known: Whether anybody was ever seen: where nobody was, those who work may have no heartbeat.
    """

    def __init__(self, workers: Workers | None) -> None:
        of_dbos = workers.of(ENGINE) if workers is not None else []
        self.known = bool(of_dbos)
        self._workers = workers
        self._living: dict[str, list[Worker]] = {}
        self._dead: set[str] = set()
        self._left: set[str] = set()
        for each in of_dbos:
            if each.state is WorkerState.DEAD:
                self._dead.add(each.owner_id)
                self._left.update(task.id for task in each.beat.running)
            else:
                self._living.setdefault(each.owner_id, []).append(each)
        living = [each for several in self._living.values() for each in several]
        self._held = {task.id for each in living for task in each.beat.running}
        self._grace_ms = _GRACE_BEATS * 1000 * max((each.beat.period_seconds for each in of_dbos), default=0.0)

    def cause_of_running(self, task: Running, now: int) -> Cause | None:
        """Return why *task* does not go on, as far as those tell who work; `None`: somebody has it, or may have it."""
        if not self.known or task.worker is None or task.id in self._held:
            return None
        is_new = task.changed > now - self._grace_ms
        living = self._living.get(task.worker)
        if not living:
            return None if is_new and task.worker not in self._dead else Cause.WORKER_DEAD
        if is_new:
            return None
        if not any(_is_of(each, task.version) for each in living):
            # One of that name has begun anew in another version, and leaves the work of the old one alone.
            return Cause.NO_WORKER_OF_VERSION if self._nobody_has(task.version) else Cause.WORKER_DEAD
        # Several processes may have one name, as all have that are given none.
        names_all = all(each.beat.running_count <= len(each.beat.running) for each in living)
        return Cause.WORKER_DEAD if task.id in self._left and names_all else None

    def cause_of_waiting(self, queue: str | None, version: str | None) -> Cause | None:
        """Return why nobody takes work of *version* from *queue*; `None`: somebody does, or may."""
        if self._workers is None or not self.known:
            return None
        if self._nobody_has(version):
            return Cause.NO_WORKER_OF_VERSION
        asked = None if queue == _INTERNAL_QUEUE else queue
        return Cause.NO_WORKER if self._workers.serves(ENGINE, asked, version) is False else None

    def _nobody_has(self, version: str | None) -> bool:
        living = [each for several in self._living.values() for each in several]
        return version is not None and not any(_is_of(each, version) for each in living)


def _is_of(worker: Worker, version: str | None) -> bool:
    return version is None or worker.beat.version is None or worker.beat.version == version
