"""Who works on Procrastinate's jobs: by its own table of workers, and by the heartbeats of ours where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasker_health.workers import Workers, WorkerState

ENGINE = "procrastinate"

STALE_SECONDS = 30.0
"""Procrastinate takes a worker for dead whose heartbeat is so old, by default (`stalled_worker_timeout`)."""


class Owner(NamedTuple):
    """Who has a job: its id, what Procrastinate calls the worker; `None`: it was taken out of the table."""

    job: int
    worker: int | None


class Owners:
    """Tells who is dead and which queues are served, at one moment.

    What a heartbeat of ours says goes before Procrastinate's, which stops while a task keeps the event loop.

    Args:
        heartbeats: When each worker in Procrastinate's table has beaten last, in seconds since the epoch.
        now: The time, by the same clock.
        workers: Who has a heartbeat of ours; `None`: it cannot be known.
    """

    def __init__(self, heartbeats: Mapping[int, float], now: float, workers: Workers | None) -> None:
        known = workers.of(ENGINE) if workers is not None else []
        dead = {each.owner_id for each in known if each.state is WorkerState.DEAD}
        living = [each for each in known if each.state is not WorkerState.DEAD]
        self._workers = workers if known else None
        self._alive = {each.owner_id for each in living}
        self._dead = dead - self._alive
        self._held = {task.id for each in living for task in each.beat.running}
        self._fresh = {str(worker) for worker, at in heartbeats.items() if at >= now - STALE_SECONDS}
        self._unknown = self._fresh - self._alive - dead

    def has_died(self, owner: Owner) -> bool:
        """Return whether nobody who lives works on the job that *owner* has."""
        if str(owner.job) in self._held:
            return False
        if owner.worker is None:
            return True
        name = str(owner.worker)
        return name in self._dead or (name not in self._alive and name not in self._fresh)

    def unserved(self, queues: Iterable[str]) -> frozenset[str]:
        """Return those of *queues* that certainly nobody who lives takes work from.

        Procrastinate's table has no queues: a worker that only it knows may serve any.
        """
        if self._unknown:
            return frozenset()
        if self._workers is None:
            return frozenset(queues)
        return frozenset(queue for queue in queues if self._workers.serves(ENGINE, queue) is False)
