"""The figures of Tasker's tables, counted one by one from raw rows.

Written from the definitions (the contract's table of `status`, issue 5), not from the source's SQL: where the two
disagree, one of them is wrong. Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from tasker_health.model import Durations, Facts
from tasker_health.work import Cause, Outcome, QueueFlow

Row = dict[str, Any]

COMPLETED = {"complete", "resolved_manually"}
ALIVE = {"pending", "in_progress"}
CONTRACT = {
    "pending": "pending",
    "in_progress": "running",
    "complete": "completed",
    "resolved_manually": "completed",
    "error": "failed",
    "cancelled": "cancelled",
}
STATES = ("pending", "running", "completed", "failed", "cancelled", "other")
SECOND = 1_000_000
COLUMNS = {
    "tasker_tasks": "task_id, named_task_id, created_at",
    "tasker_named_tasks": "named_task_id, name",
    "tasker_workflow_steps": "workflow_step_id, task_id, retryable, retry_limit, in_process, processed, attempts,"
    " last_attempted_at, backoff_request_seconds",
    "tasker_workflow_step_edges": "from_step_id, to_step_id",
    "tasker_task_transitions": "task_id, to_state, sort_key, created_at",
    "tasker_workflow_step_transitions": "workflow_step_id, to_state, sort_key, created_at",
}
"""What the facts are counted from."""
CAUSES = (Cause.RETRIES_EXHAUSTED, Cause.NO_PROGRESS)
ENDED = {"complete", "resolved_manually", "error", "cancelled"}
MINUTE = 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- the columns have no time zone


def micros(moment: datetime) -> int:
    """Return *moment*, in UTC, as microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Recount:
    """What a person with a pencil would find.

    Args:
        raw: Rows by table.
        now: The time at which they were read, by the database's clock.
        window_seconds: Window of averages and ratios.
        stuck_after_seconds: A running task without a recorded change for so long is stuck.
    """

    def __init__(self, raw: dict[str, list[Row]], now: int, window_seconds: float, stuck_after_seconds: float) -> None:
        self.raw = raw
        self.now = now
        self.window = round(window_seconds * 1000) * 1000
        self.bucket = max(Fraction(1), Fraction(window_seconds) / 3600) * SECOND
        self.since = now // self.bucket * self.bucket - Fraction(window_seconds) * SECOND
        self.stuck_since = now - Fraction(stuck_after_seconds) * SECOND
        self.tasks = raw["tasker_tasks"]
        self.steps = raw["tasker_workflow_steps"]
        self.task_life = _lives(raw["tasker_task_transitions"], "task_id")
        self.step_life = _lives(raw["tasker_workflow_step_transitions"], "workflow_step_id")
        self.task_state = {row["task_id"]: _state(self.task_life[row["task_id"]]) for row in self.tasks}
        self.step_state = {
            row["workflow_step_id"]: _state(self.step_life[row["workflow_step_id"]]) for row in self.steps
        }
        self.steps_of = defaultdict(list)
        for step in self.steps:
            self.steps_of[step["task_id"]].append(step)
        self.parents = defaultdict(list)
        for edge in raw["tasker_workflow_step_edges"]:
            self.parents[edge["to_step_id"]].append(edge["from_step_id"])

    def facts(self) -> Facts:
        """Return every figure; connections, groups and the method are left out."""
        tasks = Counter(self.task_state.values())
        states = Counter(dict.fromkeys(STATES, 0))
        for state, count in tasks.items():
            states[CONTRACT.get(state, "other")] += count
        queue = [step for step in self.steps if self._will_retry(step)]
        events = [row for life in self.task_life.values() for row in life if self._in_window(row)]
        settled = [step for step in self.steps if self._settled(step)]
        return Facts(
            **states,
            blocked=sum(map(self._blocked, self.tasks)),
            stuck=sum(map(self._stuck, self.tasks)),
            retry_queue=len(queue),
            in_backoff=sum(self._due(step) > self.now for step in queue),
            task_time=self._task_time(),
            step_time=self._step_time(),
            window_completed=sum(row["to_state"] in COMPLETED for row in events),
            window_failed=sum(row["to_state"] == "error" for row in events),
            retries_settled=len(settled),
            retries_succeeded=sum(self.step_state[step["workflow_step_id"]] == "complete" for step in settled),
            tasks_by_state=_by_state(self.task_state.values()),
            steps_by_state=_by_state(self.step_state.values()),
            oldest_pending_seconds=self._oldest_pending_seconds(),
            causes={cause: sum(self.cause(task) is cause for task in self.tasks) for cause in CAUSES},
            flow=QueueFlow(
                arrived=sum(map(self._in_flow, self.tasks)),
                ended=sum(row["to_state"] in ENDED and self._in_flow(row) for row in self._events()),
                ready=states["pending"],
                oldest_ready_seconds=self._oldest_pending_seconds(),
            ),
            outcomes=self._outcomes(),
        )

    def cause(self, task: Row) -> Cause | None:
        """Return why *task* stands still; `None`: it does not."""
        if self._blocked(task):
            return Cause.RETRIES_EXHAUSTED
        return Cause.NO_PROGRESS if self._stuck(task) else None

    def _events(self) -> list[Row]:
        known = {task["task_id"] for task in self.tasks}
        return [row for task_id, life in self.task_life.items() if task_id in known for row in life]

    def _in_flow(self, row: Row) -> bool:
        """Say whether it was within the window, which begins with a whole minute here."""
        return micros(row["created_at"]) // MINUTE >= (self.now - self.window) // MINUTE

    def _outcomes(self) -> tuple[Outcome, ...]:
        names = {row["named_task_id"]: row["name"] for row in self.raw["tasker_named_tasks"]}
        name_of = {task["task_id"]: names[task["named_task_id"]] for task in self.tasks}
        counted: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        for row in self._events():
            minute = micros(row["created_at"]) // MINUTE
            if row["to_state"] in ENDED - {"cancelled"} and minute > self.now // MINUTE - 15 and self._in_flow(row):
                counted[minute, name_of[row["task_id"]]][row["to_state"] == "error"] += 1
        told = [Outcome(minute, name, None, None, *ended) for (minute, name), ended in counted.items()]
        return tuple(sorted(told, key=lambda each: (each.minute, -each.failed, -each.completed, each.handler or "")))

    def groups(self, breakdown: str, most: int) -> dict[str, dict[str, int]]:
        """Return the tasks of each name by state of the contract, states of 0 left out; no two may be of one size."""
        named = {row["named_task_id"]: row for row in self.raw["tasker_named_tasks"]}
        spaces = {row["task_namespace_id"]: row["name"] for row in self.raw["tasker_task_namespaces"]}
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for task in self.tasks:
            name = named[task["named_task_id"]]
            group = name["name"] if breakdown == "named_tasks" else spaces[name["task_namespace_id"]]
            found[group][CONTRACT.get(self.task_state[task["task_id"]], "other")] += 1
        largest = sorted(found, key=lambda group: -found[group].total())
        kept = {group: found[group] for group in largest[:most]}
        for group in largest[most:]:
            kept["other"] = kept.get("other", Counter()) + found[group]
        return {group: dict(states) for group, states in kept.items()}

    def _in_window(self, row: Row) -> bool:
        return micros(row["created_at"]) // self.bucket * self.bucket >= self.since

    def _will_retry(self, step: Row) -> bool:
        return (
            self.step_state[step["workflow_step_id"]] == "error"
            and not step["processed"]
            and not step["in_process"]
            and not _failed_for_good(step)
            and self.task_state[step["task_id"]] in ALIVE
        )

    def _due(self, step: Row) -> int:
        failure = self.step_life[step["workflow_step_id"]][-1]
        due = micros(failure["created_at"]) + min(2 ** min(step["attempts"] or 0, 10), 30) * SECOND
        if step["last_attempted_at"] is not None and step["backoff_request_seconds"] is not None:
            due = max(due, micros(step["last_attempted_at"]) + step["backoff_request_seconds"] * SECOND)
        return due

    def _blocked(self, task: Row) -> bool:
        steps = self.steps_of[task["task_id"]]
        return (
            self.task_state[task["task_id"]] in ALIVE
            and any(self.step_state[step["workflow_step_id"]] == "error" and _failed_for_good(step) for step in steps)
            and not any(map(self._can_move, steps))
        )

    def _can_move(self, step: Row) -> bool:
        state = self.step_state[step["workflow_step_id"]]
        if state == "pending":
            return all(self.step_state[parent] in COMPLETED for parent in self.parents[step["workflow_step_id"]])
        return state == "in_progress" or self._will_retry(step)

    def _stuck(self, task: Row) -> bool:
        if self.task_state[task["task_id"]] != "in_progress":
            return False
        changes = [self.task_life[task["task_id"]][-1]]
        for step in self.steps_of[task["task_id"]]:
            changes += self.step_life[step["workflow_step_id"]]
        return max(micros(row["created_at"]) for row in changes) < self.stuck_since

    def _task_time(self) -> Durations:
        spans = [
            micros(row["created_at"]) - micros(task["created_at"])
            for task in self.tasks
            for row in self.task_life[task["task_id"]]
            if row["to_state"] == "complete" and self._in_window(row)
        ]
        return _durations(span for span in spans if span >= 0)

    def _step_time(self) -> Durations:
        """Sum up, for every completion of a step in the window, how long its attempts up to then ran."""
        spans = []
        for life in self.step_life.values():
            for number, row in enumerate(life):
                if row["to_state"] != "complete" or not self._in_window(row):
                    continue
                ran = [
                    max(0, micros(life[index + 1]["created_at"]) - micros(life[index]["created_at"]))
                    for index in range(number)
                    if life[index]["to_state"] == "in_progress"
                ]
                if ran:
                    spans.append(sum(ran))
        return _durations(spans)

    def _settled(self, step: Row) -> bool:
        """Say whether *step* had failed before its last transition, which lies in the window and was its last word."""
        life = self.step_life[step["workflow_step_id"]]
        if not life or not self._in_window(life[-1]):
            return False
        over = life[-1]["to_state"] in COMPLETED or (life[-1]["to_state"] == "error" and _failed_for_good(step))
        return over and any(row["to_state"] == "error" for row in life[:-1])

    def _oldest_pending_seconds(self) -> int | None:
        pending = [task for task in self.tasks if self.task_state[task["task_id"]] == "pending"]
        if not pending:
            return None
        oldest = min(pending, key=lambda task: task["task_id"])
        return max(0, (self.now - micros(oldest["created_at"])) // SECOND)


def _lives(transitions: Iterable[Row], owner: str) -> dict[int, list[Row]]:
    """Return the transitions of each *owner* in their order."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(transitions, key=lambda row: row["sort_key"]):
        found[row[owner]].append(row)
    return found


def _state(life: list[Row]) -> str:
    return life[-1]["to_state"] if life else "pending"


def _by_state(states: Iterable[str]) -> dict[str, int]:
    """Return how many are in each of Tasker's states; there may be any number of others, so they are told as one."""
    return dict(Counter(state if state in CONTRACT else "other" for state in states))


def _failed_for_good(step: Row) -> bool:
    """Say whether *step*, which has failed, will not be tried again; what is not set is as the columns' default."""
    limit = 3 if step["retry_limit"] is None else step["retry_limit"]
    return (step["attempts"] or 0) >= limit or step["retryable"] is False


def _durations(spans: Iterable[int]) -> Durations:
    lengths = [(span + 500) // 1000 for span in spans]
    return Durations(len(lengths), sum(lengths))
