"""From a tally to the figures of the contract."""

from __future__ import annotations

from collections.abc import Iterable

from tasker_health.model import Connections, CountingMethod, Durations, Facts
from tasker_health.sources import State, States, no_tasks
from tasker_health.sources.dbos.alive import Waiting
from tasker_health.sources.dbos.standing import Standing
from tasker_health.sources.dbos.tally import Tally
from tasker_health.work import BLOCKING, Cause, QueueFlow

_STATES: dict[str | None, State] = {
    "ENQUEUED": "pending",
    "DELAYED": "pending",
    None: "pending",
    "PENDING": "running",
    "SUCCESS": "completed",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}


def facts_of(
    tally: Tally,
    standing: Standing,
    now: int,
    stuck_ms: int,
    connections: Connections,
    method: CountingMethod,
    *,
    retries: bool,
) -> Facts:
    """Return the facts of *tally*, and of what is *standing* still, *now*; without *retries* those are `None`."""
    window = tally.window.total(now / 1000, tally.above.buckets.items())
    causes = standing.causes()
    recent = tally.recent.plus(tally.above.recent)
    ended = recent.ended_of()
    return Facts(
        **_states(tally),
        blocked=sum(number for cause, number in causes.items() if cause in BLOCKING) if standing.knows else None,
        stuck=len(tally.stuck(now - stuck_ms)),
        retry_queue=len(tally.waiting) if retries else None,
        in_backoff=sum(due > now for due in tally.waiting.values()) if retries else None,
        task_time=Durations(window.timed_tasks, window.task_ms),
        step_time=Durations(window.timed_steps, window.step_ms),
        window_completed=window.completed,
        window_failed=window.failed,
        retries_settled=tally.retried.settled if retries else None,
        retries_succeeded=tally.retried.succeeded if retries else None,
        connections=connections,
        method=method,
        causes=causes,
        flow=QueueFlow(
            arrived=recent.arrived.total(),
            ended=ended.total(),
            **_ready(standing.waiting, now),
        ),
        queues={
            queue: QueueFlow(
                ended=ended[queue],
                **_ready((each for each in standing.waiting if each[0].queue == queue), now),
            )
            for queue in sorted(_queues(standing) | {queue for queue in ended if queue})
        },
        outcomes=recent.outcomes(),
    )


def _queues(standing: Standing) -> set[str]:
    """Return the queues of what is alive."""
    alive = {part.queue for part, _ in standing.waiting} | {task.queue for task, _ in standing.running}
    return {queue for queue in alive if queue}


def _ready(waiting: Iterable[tuple[Waiting, Cause | None]], now: int) -> dict[str, int | None]:
    """Return what could be taken, and how long the oldest of it has been waiting.

    What stands behind places that are all lost could not be taken by anybody.
    """
    ready = [part for part, cause in waiting if cause is not Cause.LOCKED]
    oldest = min((part.first for part in ready), default=None)
    return {
        "ready": sum(part.number for part in ready),
        "oldest_ready_seconds": None if oldest is None else max(0, (now - oldest) // 1000),
    }


def _states(tally: Tally) -> States:
    """Return how many tasks are in each state of the contract."""
    states = no_tasks()
    for status, tasks in tally.states.items():
        states[_STATES.get(status, "other")] += tasks
    return states
