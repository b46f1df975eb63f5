"""From a tally to the figures of the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tasker_health.model import Connections, Durations, Facts
from tasker_health.sources import States, no_tasks
from tasker_health.sources.tasker.tally import OTHER, STATES, Counts, Tally
from tasker_health.sources.window import Buckets

Groups = dict[str, States]


def facts_of(
    tally: Tally, counts: Counts, ended: Buckets, now: float, stuck_after_seconds: float, connections: Connections
) -> Facts:
    """Return the facts of *tally* with the *counts* of everything visible and what has *ended* and is not settled."""
    window = tally.window.total(now, ended.items())
    waiting = [step for step in tally.failing.values() if step.waits]
    settled = [step for step in tally.settled.values() if step.counts]
    oldest = tally.oldest_pending
    return Facts(
        **_states((state, number) for (_, state), number in counts.tasks.items()),
        blocked=tally.blocked,
        stuck=sum(last < now - stuck_after_seconds for last in tally.running.values()),
        retry_queue=len(waiting),
        in_backoff=sum(step.due > now for step in waiting),
        task_time=Durations(window.timed_tasks, window.task_ms),
        step_time=Durations(window.timed_steps, window.step_ms),
        window_completed=window.completed,
        window_failed=window.failed,
        retries_settled=len(settled),
        retries_succeeded=sum(step.succeeded for step in settled),
        connections=connections,
        tasks_by_state=counts.tasks_by_state(),
        steps_by_state=counts.steps_by_state(),
        oldest_pending_seconds=None if oldest is None else max(0, int(now - oldest[1])),
    )


def groups_of(counts: Counts, names: Mapping[int, str], most: int) -> Groups:
    """Return the states of tasks by the *names* of their groups: of the *most* largest, and of the rest as `other`."""
    by_name: dict[str, Counter[str]] = {}
    for (group, state), number in counts.tasks.items():
        name = names.get(group, "unknown") if group is not None else "unknown"
        by_name.setdefault(name, Counter())[state] += number
    ordered = sorted(by_name, key=lambda name: (-by_name[name].total(), name))
    groups = {name: _states(by_name[name].items()) for name in ordered[:most]}
    rest = [by_name[name] for name in ordered[most:]]
    if not rest:
        return groups
    if OTHER in groups:  # one of the largest bears that very name
        rest.append(by_name[OTHER])
    return groups | {OTHER: _states(sum(rest, Counter()).items())}


def _states(states: Iterable[tuple[str, int]]) -> States:
    """Return how many tasks are in each state of the contract."""
    found = no_tasks()
    for state, number in states:
        found[STATES.get(state, "other")] += number
    return found
