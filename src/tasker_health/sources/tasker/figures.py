"""From a tally to the figures of the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tasker_health.model import Durations, Facts
from tasker_health.sources import States, no_tasks
from tasker_health.sources.outcomes import outcomes_of
from tasker_health.sources.recent import Recent
from tasker_health.sources.tasker.poll import Polled
from tasker_health.sources.tasker.tally import OTHER, STATES, Counts, Tally
from tasker_health.work import Cause, Outcome, QueueFlow

Groups = dict[str, States]


def facts_of(tally: Tally, polled: Polled, now: float, stuck_after_seconds: float, names: Mapping[str, str]) -> Facts:
    """Return the facts of *tally* with what was *polled*, and the *names* of named tasks; without connections."""
    counts, ended = polled.counts, polled.ended
    recent = tally.recent.plus(polled.recent)
    recent.forget(round(now * 1000), tally.window_ms)
    standing = standing_of(tally, now - stuck_after_seconds)
    states = _states((state, number) for (_, state), number in counts.tasks.items())
    window = tally.window.total(now, ended.items())
    waiting = [step for step in tally.failing.values() if step.waits]
    settled = [step for step in tally.settled.values() if step.counts]
    oldest = tally.oldest_pending
    return Facts(
        **states,
        blocked=len(tally.blocked),
        stuck=sum(last < now - stuck_after_seconds for last in tally.running.values()),
        retry_queue=len(waiting),
        in_backoff=sum(step.due > now for step in waiting),
        task_time=Durations(window.timed_tasks, window.task_ms),
        step_time=Durations(window.timed_steps, window.step_ms),
        window_completed=window.completed,
        window_failed=window.failed,
        retries_settled=len(settled),
        retries_succeeded=sum(step.succeeded for step in settled),
        tasks_by_state=counts.tasks_by_state(),
        steps_by_state=counts.steps_by_state(),
        oldest_pending_seconds=_ago(oldest, now),
        causes={cause: len(tasks) for cause, tasks in standing.items()},
        flow=QueueFlow(
            arrived=recent.arrived.total(),
            ended=recent.ended.total(),
            ready=states["pending"],
            oldest_ready_seconds=_ago(oldest, now),
        ),
        outcomes=_outcomes(recent, names),
    )


def standing_of(tally: Tally, cutoff: float) -> dict[Cause, list[int]]:
    """Return the tasks that stand still by cause; without a change since *cutoff* they make no progress."""
    unchanged = [task_id for task_id, last in tally.running.items() if last < cutoff and task_id not in tally.blocked]
    return {Cause.RETRIES_EXHAUSTED: sorted(tally.blocked), Cause.NO_PROGRESS: unchanged}


def _outcomes(recent: Recent, names: Mapping[str, str]) -> tuple[Outcome, ...]:
    """Return how tasks have ended, by name: several named tasks may bear one."""
    ended: dict[tuple[int, str], list[int]] = {}
    for place, counted in enumerate((recent.completed, recent.failed)):
        for kind, number in counted.items():
            name = names.get(kind.handler or "", "unknown")
            ended.setdefault((kind.minute, name), [0, 0])[place] += number
    return outcomes_of(
        Outcome(minute, name, None, None, completed, failed) for (minute, name), (completed, failed) in ended.items()
    )


def _ago(oldest: tuple[int, float] | None, now: float) -> int | None:
    return None if oldest is None else max(0, int(now - oldest[1]))


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
