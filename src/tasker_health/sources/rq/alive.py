"""What waits and runs at one look, and why some of it stands still."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from tasker_health.sources.rq.look import Look, RqWorker, Started, Waiting, score_of, seconds_of
from tasker_health.sources.rq.scripts import MOST_JOBS
from tasker_health.work import BLOCKING, Cause, StuckTask
from tasker_health.workers import Workers, WorkerState

ENGINE = "rq"

FAR_BEYOND, FAR_SECONDS = 2.0, 10.0
"""A job runs for too long beyond so many times its p99, and so much longer than that."""

_ENDED = frozenset({"", "finished", "failed", "stopped", "canceled", "scheduled", "deferred"})
"""States of a job whose execution is only left over; the empty one: it was deleted."""


class Alive:
    """What is alive in *look*.

    Args:
        look: What there is.
        workers: Who has a heartbeat of ours; `None`: it cannot be known.
        stuck_after_seconds: Work without a change for so long is stuck.
        usual: Answers what a function usually takes, in seconds; `None`: not known.

    Attributes:
        running: Jobs that run, each once.
        is_complete: Whether all that wait in queues were looked at; `waiters_complete`: all that are deferred;
            `scheduled_complete`: all that are scheduled; `runners_complete`: all that run.
        repeated: How many are among the finished and wait or run again, by queue.
        causes: How many stand still, by cause; those that can be seen are all there.
    """

    def __init__(
        self, look: Look, workers: Workers | None, stuck_after_seconds: float, usual: Callable[[str], float | None]
    ) -> None:
        self._look = look
        self._stuck_after = stuck_after_seconds
        self._usual = usual
        self._served = _Served(look, workers)
        self.is_complete: bool = sum(each.queued for each in look.queues) <= MOST_JOBS
        self.waiters_complete: bool = sum(each.deferred for each in look.queues) <= MOST_JOBS
        self.scheduled_complete: bool = sum(each.scheduled for each in look.queues) <= MOST_JOBS
        self.runners_complete: bool = all(each.started <= MOST_JOBS for each in look.queues)
        self.running: list[Started] = _running(look.started)
        several = (look.queued, look.taken, look.scheduled, self.running)
        self.repeated: Counter[str] = Counter(each.queue for some in several for each in some if each.mark)
        self._stands = {each.id: cause for each in self.running if (cause := self._cause(each)) is not None}
        self.causes: dict[Cause, int] = self._causes()

    def blocked(self) -> int | None:
        """Return how many cannot move by themselves; `None`: there are too many to look at each."""
        if not self.waiters_complete or not self.runners_complete:
            return None
        return sum(number for cause, number in self.causes.items() if cause in BLOCKING)

    def stuck(self) -> int | None:
        """Return how many have been running for long; `None`: too many run."""
        if not self.runners_complete:
            return None
        return sum(self._seconds(each) > self._stuck_after for each in self.running)

    def tasks(self, most: int) -> list[StuckTask]:
        """Return at most *most* jobs of each cause, the oldest first."""
        found: list[StuckTask] = []
        for each in self.running:
            cause = self._stands.get(each.id)
            if cause is not None:
                since = seconds_of(each.job.started_at)
                found.append(_task(each, cause, "running", since, each.job.worker_name or None))
        for waiting in self._look.queued:
            held = self._held(waiting.queue)
            if held is not None or self._is_old(waiting):
                found.append(_task(waiting, held or Cause.NOT_TAKEN, "pending", seconds_of(waiting.job.enqueued_at)))
        for waiting in self._look.deferred:
            if waiting.mark:
                since = score_of(waiting.score)
                found.append(_task(waiting, Cause.WAITING_FOR_PARENT, "pending", since if since < math.inf else None))
        found.sort(key=lambda each: (math.inf if each.since is None else each.since, each.id))
        named: Counter[Cause] = Counter()
        told = []
        for task in found:
            named[task.cause] += 1
            if named[task.cause] <= most:
                told.append(task)
        return told

    def _causes(self) -> dict[Cause, int]:
        running = (Cause.WORKER_DEAD, Cause.LEASE_EXPIRED, Cause.RUNNING_LONG, Cause.NO_PROGRESS)
        causes = dict.fromkeys((*running, Cause.NO_WORKER, Cause.PAUSED), 0) if self.runners_complete else {}
        for cause in self._stands.values():
            causes[cause] = causes.get(cause, 0) + 1
        for queue in self._look.queues:
            if (held := self._held(queue.name)) is not None:
                causes[held] = causes.get(held, 0) + queue.queued
        if self.waiters_complete:
            causes[Cause.WAITING_FOR_PARENT] = sum(each.mark for each in self._look.deferred)
        if self.is_complete:
            causes[Cause.NOT_TAKEN] = sum(self._is_old(each) for each in self._look.queued)
        return causes

    def _cause(self, each: Started) -> Cause | None:
        dead = self._served.is_dead(each)
        if dead:
            return Cause.WORKER_DEAD
        if dead is None and score_of(each.lease) <= self._look.now:
            return Cause.LEASE_EXPIRED
        seconds, usual = self._seconds(each), self._usual(each.job.function)
        if usual is not None and seconds > max(FAR_BEYOND * usual, usual + FAR_SECONDS):
            return Cause.RUNNING_LONG
        return Cause.NO_PROGRESS if seconds > self._stuck_after else None

    def _held(self, queue: str) -> Cause | None:
        """Return why nothing is taken from *queue*."""
        if self._look.is_suspended:
            return Cause.PAUSED
        return Cause.NO_WORKER if self._served.is_unserved(queue) else None

    def _is_old(self, waiting: Waiting) -> bool:
        if self._held(waiting.queue) is not None:
            return False
        at = seconds_of(waiting.job.enqueued_at)
        return at is not None and self._look.now - at > self._stuck_after

    def _seconds(self, each: Started) -> float:
        at = seconds_of(each.job.started_at) if each.job.status == "started" else None
        return 0.0 if at is None else self._look.now - at


class _Served:
    """Who works: by the heartbeats of ours, and by the records that RQ itself keeps of workers.

    A heartbeat of ours goes first: RQ's record of a worker that was killed lives on for up to eight minutes.
    """

    def __init__(self, look: Look, workers: Workers | None) -> None:
        known = workers.of(ENGINE) if workers is not None else []
        living = [each for each in known if each.state is not WorkerState.DEAD]
        self._alive = {each.owner_id for each in living}
        self._dead = {each.owner_id for each in known} - self._alive
        self._held = {task.id for each in living for task in each.beat.running}
        self._queues = {queue for each in living for queue in each.beat.queues}
        self._takes_all = any(not each.beat.queues for each in living)
        for record in look.workers:
            if record.lives and record.name not in self._dead:
                self._queues.update(_queues_of(record))

    def is_dead(self, each: Started) -> bool | None:
        """Return whether nobody who lives works on it; `None`: only its lease tells."""
        name = each.job.worker_name
        if each.id in self._held or name in self._alive:
            return False
        if name in self._dead:
            return True
        return True if name and not each.lives else None

    def is_unserved(self, queue: str) -> bool:
        """Return whether certainly nobody takes work from *queue*: each worker of RQ has a record of its queues."""
        return not self._takes_all and queue not in self._queues


def _queues_of(record: RqWorker) -> Iterable[str]:
    return filter(None, record.queues.split(","))


def _running(started: Iterable[Started]) -> list[Started]:
    """Return each job once, by its newest execution, without those whose execution is only left over."""
    found: dict[str, Started] = {}
    for each in started:
        other = found.get(each.id)
        if each.job.status not in _ENDED and (other is None or score_of(other.lease) < score_of(each.lease)):
            found[each.id] = each
    return list(found.values())


def _task(
    each: Started | Waiting, cause: Cause, state: str, since: float | None, worker: str | None = None
) -> StuckTask:
    return StuckTask(
        id=each.id,
        cause=cause,
        state=state,
        name=each.job.function or None,
        queue=each.queue,
        worker=worker,
        since=since,
    )
