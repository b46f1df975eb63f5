"""The figures of tasker-core's tables, counted one by one from raw rows by what its page in the docs says."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from contract.backend import Rows
from tasker_health.model import Durations, Facts
from tasker_health.work import BLOCKING, Cause, Outcome, QueueFlow

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- the columns have no time zone
_ENDED = {"complete": "completed", "resolved_manually": "completed", "error": "failed", "cancelled": "cancelled"}
_OF_REASON = {
    "worker_unavailable": Cause.NO_WORKER,
    "max_retries_exceeded": Cause.RETRIES_EXHAUSTED,
    "dependency_cycle_detected": Cause.WAITING_FOR_PARENT,
}


def seconds(moment: datetime) -> float:
    """Return *moment*, in UTC, as seconds since the epoch."""
    return (moment - _EPOCH).total_seconds()


class Recount:
    """What a person with a pencil would find.

    Args:
        raw: Rows by table.
        now: The time, in seconds since the epoch.
        window: Of averages and ratios, in seconds.
        stuck_after: Work without a change for so long is stuck.
    """

    def __init__(self, raw: Rows, now: float, window: float, stuck_after: float) -> None:
        self.raw, self.now, self.since, self.old = raw, now, now - window, now - stuck_after
        self.tasks = raw["tasks"]
        spaces = {row["task_namespace_uuid"]: row["name"] for row in raw["task_namespaces"]}
        self.named = {
            row["named_task_uuid"]: (row["name"], spaces[row["task_namespace_uuid"]], row["version"])
            for row in raw["named_tasks"]
        }
        self.latest = {row["task_uuid"]: row for row in raw["task_transitions"] if row["most_recent"]}
        self.step_latest = {
            row["workflow_step_uuid"]: row for row in raw["workflow_step_transitions"] if row["most_recent"]
        }
        self.steps_of: dict[Any, list[Row]] = defaultdict(list)
        for step in raw["workflow_steps"]:
            self.steps_of[step["task_uuid"]].append(step)

    def facts(self) -> Facts:
        """Return every figure; connections and the method are left out."""
        states = Counter(map(self._as_told, self.tasks))
        causes = self.causes()
        ends = [row for row in self.raw["task_transitions"] if self._in_window(row) and row["to_state"] in _ENDED]
        waiting = [step for task in self.tasks if self._is_alive(task) for step in self._will_retry(task)]
        results = [
            row["execution_time_ms"]
            for row in self.raw["workflow_step_result_audit"]
            if row["success"] and row["execution_time_ms"] is not None and seconds(row["recorded_at"]) >= self.since
        ]
        pending = [self._since(task) for task in self.tasks if self._state(task) == "pending"]
        return Facts(
            **{name: states[name] for name in ("pending", "running", "completed", "failed", "cancelled")},
            other=0,
            blocked=sum(causes[cause] for cause in BLOCKING & causes.keys()),
            stuck=sum(map(self._is_stuck, self.tasks)),
            retry_queue=len(waiting),
            in_backoff=sum(self._due(step) > self.now for step in waiting),
            task_time=self._task_time(ends),
            step_time=Durations(len(results), sum(results)),
            window_completed=sum(_ENDED[row["to_state"]] == "completed" for row in ends),
            window_failed=sum(row["to_state"] == "error" for row in ends),
            retries_settled=None,
            retries_succeeded=None,
            tasks_by_state=dict(Counter(map(self._state, self.tasks))),
            steps_by_state=dict(Counter(map(self._step_state, self.raw["workflow_steps"]))),
            oldest_pending_seconds=max(0, int(self.now - min(pending))) if pending else None,
            causes=causes,
            flow=self._flow(None, ends),
            queues={space: self._flow(space, ends) for space in self._spaces(ends)},
            outcomes=self._outcomes(ends),
        )

    def causes(self) -> dict[Cause, int]:
        """Return how many tasks stand still, by cause."""
        seen = (Cause.NO_WORKER, Cause.RETRIES_EXHAUSTED, Cause.WAITING_FOR_PARENT, Cause.NOT_TAKEN, Cause.NO_PROGRESS)
        counted = Counter(map(self.cause, self.tasks))
        return {cause: counted[cause] for cause in seen}

    def cause(self, task: Row) -> Cause | None:
        """Return why *task* stands still; `None`: it does not."""
        if not self._is_alive(task):
            return None
        of_it = [row for row in self.raw["tasks_dlq"] if row["task_uuid"] == task["task_uuid"]]
        open_ = [_OF_REASON.get(row["dlq_reason"]) for row in of_it if row["resolution_status"] == "pending"]
        causes = {*open_, Cause.RETRIES_EXHAUSTED if self._state(task) == "blocked_by_failures" else None}
        for cause in (Cause.NO_WORKER, Cause.RETRIES_EXHAUSTED, Cause.WAITING_FOR_PARENT):
            if cause in causes:
                return cause
        if self._state(task) == "pending":
            return Cause.NOT_TAKEN if self._since(task) < self.old else None
        return Cause.NO_PROGRESS if self._is_stuck(task) else None

    def _state(self, task: Row) -> str:
        latest = self.latest.get(task["task_uuid"])
        return latest["to_state"] if latest else "pending"

    def _as_told(self, task: Row) -> str:
        state = self._state(task)
        return "pending" if state == "pending" else _ENDED.get(state, "running")

    def _is_alive(self, task: Row) -> bool:
        return self._as_told(task) in {"pending", "running"}

    def _since(self, task: Row) -> float:
        return seconds(self.latest.get(task["task_uuid"], task)["created_at"])

    def _step_state(self, step: Row) -> str:
        latest = self.step_latest.get(step["workflow_step_uuid"])
        return latest["to_state"] if latest else "pending"

    def _will_retry(self, task: Row) -> list[Row]:
        return [each for each in self.steps_of[task["task_uuid"]] if self._step_state(each) == "waiting_for_retry"]

    def _due(self, step: Row) -> float:
        if step["last_attempted_at"] is not None and step["backoff_request_seconds"] is not None:
            return seconds(step["last_attempted_at"]) + step["backoff_request_seconds"]
        attempts = 1 if step["attempts"] is None else step["attempts"]
        return seconds(self.step_latest[step["workflow_step_uuid"]]["created_at"]) + min(2 ** min(attempts, 9), 60)

    def _is_stuck(self, task: Row) -> bool:
        if self._as_told(task) != "running":
            return False
        changes = [self._since(task), *map(self._due, self._will_retry(task))]
        latest = [self.step_latest.get(step["workflow_step_uuid"]) for step in self.steps_of[task["task_uuid"]]]
        return max([*changes, *(seconds(row["created_at"]) for row in latest if row)]) < self.old

    def _in_window(self, row: Row) -> bool:
        return seconds(row["created_at"]) >= self.since

    def _task_of(self, row: Row) -> Row:
        return next(task for task in self.tasks if task["task_uuid"] == row["task_uuid"])

    def _name(self, row: Row) -> tuple[str, str, str]:
        return self.named[self._task_of(row)["named_task_uuid"]]

    def _task_time(self, ends: Iterable[Row]) -> Durations:
        spans = [
            seconds(row["created_at"]) - seconds(self._task_of(row)["created_at"])
            for row in ends
            if row["to_state"] == "complete"
        ]
        lengths = [math.floor(span * 1000 + 0.5) for span in spans if span >= 0]
        return Durations(len(lengths), sum(lengths))

    def _spaces(self, ends: Iterable[Row]) -> list[str]:
        rows = [task for task in self.tasks if self._is_alive(task) or self._in_window(task)]
        return sorted({self._name(row)[1] for row in [*rows, *ends]})

    def _flow(self, space: str | None, ends: Iterable[Row]) -> QueueFlow:
        tasks = [task for task in self.tasks if space in {None, self._name(task)[1]}]
        ready = [self._since(task) for task in tasks if self._state(task) == "pending"]
        return QueueFlow(
            arrived=sum(map(self._in_window, tasks)),
            ended=sum(space in {None, self._name(row)[1]} for row in ends),
            ready=len(ready),
            oldest_ready_seconds=max(0, int(self.now - min(ready))) if ready else None,
        )

    def _outcomes(self, ends: Iterable[Row]) -> tuple[Outcome, ...]:
        counted: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        for row in ends:
            minute = math.floor(seconds(row["created_at"]) / 60)
            if row["to_state"] != "cancelled" and minute > math.floor(self.now / 60) - 15:
                counted[(minute, *self._name(row))][row["to_state"] == "error"] += 1
        told = [Outcome(*kind, *numbers) for kind, numbers in counted.items()]
        return tuple(sorted(told, key=lambda each: (each.minute, -each.failed, -each.completed, each.handler)))
