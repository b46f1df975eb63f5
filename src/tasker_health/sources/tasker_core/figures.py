"""From what tasker-core's tables say to the figures of the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tasker_health.model import Connections, CountingMethod, Durations, Facts
from tasker_health.sources.outcomes import outcomes_of
from tasker_health.sources.tasker_core.queries import PENDING, RUNNING, STEP_STATES, TASK_STATES
from tasker_health.work import BLOCKING, OUTCOME_MINUTES, Cause, Outcome, QueueFlow


class Found(NamedTuple):
    """What one snapshot has shown.

    Attributes:
        counts: What Tasker's own function answers.
        standing: What is alive, by namespace, whether it is pending, and why it stands still.
        retries: Steps that wait for another try.
        ended, arrived: Tasks that ended within the window and were created in it.
        steps: Results of steps within the window.
    """

    counts: Mapping[str, int]
    standing: Sequence[Any]
    retries: Any
    ended: Sequence[Any]
    arrived: Sequence[Any]
    steps: Any


def facts_of(found: Found, now: float, seen: Iterable[Cause], connections: Connections) -> Facts:
    """Return the facts of what was *found* at the time *now*, with the causes that can be *seen*."""
    counts = found.counts
    stateless = counts["total_tasks"] - sum(counts[f"{state}_tasks"] for state in TASK_STATES)
    causes = dict.fromkeys(seen, 0)
    for row in found.standing:
        if row.cause is not None:
            causes[Cause(row.cause)] += row.number
    flows = _flows(found, now)
    pending = [row.first for row in found.standing if row.pending]
    return Facts(
        pending=counts["pending_tasks"] + stateless,
        running=sum(counts[f"{state}_tasks"] for state in RUNNING),
        completed=counts["complete_tasks"] + counts["resolved_manually_tasks"],
        failed=counts["error_tasks"],
        cancelled=counts["cancelled_tasks"],
        other=0,
        blocked=sum(number for cause, number in causes.items() if cause in BLOCKING),
        stuck=sum(row.stuck for row in found.standing),
        retry_queue=found.retries.number,
        in_backoff=found.retries.in_backoff,
        task_time=Durations(sum(row.timed for row in found.ended), sum(row.ms for row in found.ended)),
        step_time=Durations(found.steps.number, found.steps.ms),
        window_completed=sum(row.completed for row in found.ended),
        window_failed=sum(row.failed for row in found.ended),
        retries_settled=None,
        retries_succeeded=None,
        connections=connections,
        tasks_by_state=_by_state(counts, TASK_STATES, "tasks"),
        steps_by_state=_by_state(counts, STEP_STATES, "steps"),
        oldest_pending_seconds=_ago(min(pending, default=None), now),
        method=CountingMethod.FULL_COUNT,
        causes=causes,
        flow=flows.pop(None),
        queues={name: flow for name, flow in sorted(flows.items(), key=lambda each: each[0] or "") if name},
        outcomes=outcomes_of(
            Outcome(row.minute, row.name, row.namespace, row.version, row.completed, row.failed)
            for row in found.ended
            if row.minute > now // 60 - OUTCOME_MINUTES and row.completed + row.failed
        ),
    )


def _flows(found: Found, now: float) -> dict[str | None, QueueFlow]:
    """Return how work flows through each namespace, and through all of them (`None`)."""
    arrived: Counter[str | None] = Counter()
    ended: Counter[str | None] = Counter()
    ready: Counter[str | None] = Counter()
    first: dict[str | None, float] = {}
    for row in found.arrived:
        arrived.update({row.namespace: row.number, None: row.number})
    for row in found.ended:
        ended.update({row.namespace: row.number})
        ended.update({None: row.number})
    for row in found.standing:
        if row.pending:
            for name in (row.namespace, None):
                ready[name] += row.number
                first[name] = min(row.first, first.get(name, row.first))
    names = {None, *arrived, *ended, *(row.namespace for row in found.standing)}
    return {
        name: QueueFlow(
            arrived=arrived[name],
            ended=ended[name],
            ready=ready[name],
            oldest_ready_seconds=_ago(first.get(name), now),
        )
        for name in names
    }


def _by_state(counts: Mapping[str, int], states: Iterable[str], of: str) -> dict[str, int]:
    """Return how many are in each state; who has none is pending."""
    stateless = counts[f"total_{of}"] - sum(counts[f"{state}_{of}"] for state in states)
    told = {state: counts[f"{state}_{of}"] + (stateless if state == PENDING else 0) for state in states}
    return {state: number for state, number in sorted(told.items()) if number}


def _ago(at: float | None, now: float) -> int | None:
    return None if at is None else max(0, int(now - at))
