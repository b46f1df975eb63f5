"""From a tally to the figures of the contract."""

from __future__ import annotations

from tasker_health.model import Connections, CountingMethod, Durations, Facts
from tasker_health.sources import State, States, no_tasks
from tasker_health.sources.dbos.tally import Tally

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
    tally: Tally, now: int, stuck_ms: int, connections: Connections, method: CountingMethod, *, retries: bool
) -> Facts:
    """Return the facts of *tally* at the time *now*; without *retries* those figures are `None`."""
    window = tally.window.total(now / 1000, tally.above.buckets.items())
    return Facts(
        **_states(tally),
        blocked=None,
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
    )


def _states(tally: Tally) -> States:
    """Return how many tasks are in each state of the contract."""
    states = no_tasks()
    for status, tasks in tally.states.items():
        states[_STATES.get(status, "other")] += tasks
    return states
