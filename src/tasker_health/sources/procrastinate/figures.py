"""From a tally and what is alive to the figures of the contract."""

from __future__ import annotations

from collections.abc import Mapping

from tasker_health.model import Connections, CountingMethod, Durations, Facts
from tasker_health.sources import State, States, no_tasks
from tasker_health.sources.procrastinate.alive import Alive
from tasker_health.sources.procrastinate.tally import Kind, Sums, Tally
from tasker_health.work import BLOCKING, MOST_OUTCOMES, Outcome, QueueFlow

_STATES: dict[str, State] = {
    "doing": "running",
    "succeeded": "completed",
    "failed": "failed",
    "aborted": "failed",
    "cancelled": "cancelled",
}


def facts_of(tally: Tally, alive: Alive, now: float, connections: Connections, method: CountingMethod) -> Facts:
    """Return the facts of *tally* and of what is *alive*, *now*."""
    queues = tally.window(now)
    window = Sums(*map(sum, zip(*queues.values(), strict=True))) if queues else Sums()
    causes = alive.causes()
    again = {part: number for part, number in alive.waiting.items() if part.again}
    flows = {queue: _flow(queues.get(queue, Sums()), alive, queue, now) for queue in _queues(queues, alive)}
    return Facts(
        **_states(tally, sum(again.values())),
        blocked=sum(number for cause, number in causes.items() if cause in BLOCKING),
        stuck=alive.stuck(),
        retry_queue=sum(again.values()),
        in_backoff=sum(number for part, number in again.items() if not part.due),
        task_time=Durations(window.timed_tasks, window.task_ms),
        step_time=Durations(window.timed_steps, window.step_ms),
        window_completed=window.completed,
        window_failed=window.failed,
        retries_settled=window.retries_settled,
        retries_succeeded=window.retries_succeeded,
        connections=connections,
        tasks_by_state={state: number for state, number in sorted(tally.states.items()) if number},
        oldest_pending_seconds=_ago(alive.oldest_pending, now),
        method=method,
        causes=causes,
        flow=_flow(window, alive, None, now),
        queues=flows,
        outcomes=_outcomes(tally.outcomes(now)),
    )


def _states(tally: Tally, again: int) -> States:
    """Return how many jobs are in each state of the contract; of those that wait *again* were started before."""
    states = no_tasks()
    for state, number in tally.states.items():
        if state == "todo":
            states["pending"] += number - again
            states["running"] += again
        else:
            states[_STATES.get(state, "other")] += number
    return states


def _queues(window: Mapping[str, Sums], alive: Alive) -> list[str]:
    return sorted({*window, *(part.queue for part in alive.waiting), *(each.queue for each in alive.running)})


def _flow(sums: Sums, alive: Alive, queue: str | None, now: float) -> QueueFlow:
    """Return how work flows through *queue*, or through all."""
    ready = [part for part in alive.waiting if part.due and not part.locked and queue in {None, part.queue}]
    oldest = min((alive.first[part] for part in ready if part in alive.first), default=None)
    return QueueFlow(
        arrived=sums.arrived,
        ended=sums.ended,
        ready=sum(alive.waiting[part] for part in ready),
        oldest_ready_seconds=_ago(oldest, now),
    )


def _outcomes(ended: Mapping[Kind, tuple[int, int]]) -> tuple[Outcome, ...]:
    """Return how work has ended: of each minute the kinds with the most of it, and the rest as `other`."""
    minutes: dict[int, list[Outcome]] = {}
    for kind, (completed, failed) in ended.items():
        outcome = Outcome(kind.minute, kind.task, kind.queue, None, completed, failed)
        minutes.setdefault(kind.minute, []).append(outcome)
    told = []
    for minute, several in sorted(minutes.items()):
        several.sort(key=lambda each: (-each.failed, -each.completed, each.handler, each.queue))
        told += several[:MOST_OUTCOMES]
        rest = several[MOST_OUTCOMES:]
        if rest:
            completed, failed = sum(each.completed for each in rest), sum(each.failed for each in rest)
            told.append(Outcome(minute, "other", None, None, completed, failed))
    return tuple(told)


def _ago(at: float | None, now: float) -> int | None:
    return None if at is None else max(0, int(now - at))
