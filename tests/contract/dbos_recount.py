"""The figures of DBOS' tables, counted one by one from raw rows.

Written from the definitions (the contract's table of `status`, the docstring of `tasker_health.sources.dbos`), not
from the source's SQL: where the two disagree, one of them is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tasker_health.model import Durations, Facts

Row = dict[str, Any]

PENDING = {None, "ENQUEUED", "DELAYED"}
RUNNING = {"PENDING"}
COMPLETED = {"SUCCESS"}
FAILED = {"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
CANCELLED = {"CANCELLED"}
KNOWN = PENDING | RUNNING | COMPLETED | FAILED | CANCELLED


class Recount:
    """What a person with a pencil would find.

    Args:
        tasks: Rows of `workflow_status`.
        operations: Rows of `operation_outputs`.
        now_ms: The time at which they were read.
        window_ms: Window of averages and ratios.
        stuck_ms: A running task without a recorded change for so long is stuck.
    """

    def __init__(self, tasks: list[Row], operations: list[Row], now_ms: int, window_ms: int, stuck_ms: int) -> None:
        self.tasks = tasks
        self.now_ms = now_ms
        self.since_ms = now_ms - window_ms
        self.stuck_since_ms = now_ms - stuck_ms
        self.operations: dict[str, list[Row]] = defaultdict(list)
        for operation in sorted(operations, key=lambda row: row["function_id"]):
            self.operations[operation["workflow_uuid"]].append(operation)

    def facts(self, *, attempts_recorded: bool = True) -> Facts:
        """Return every figure; connections are left out."""
        settled = [attempts for attempts in self._retried_steps() if self._settled(attempts)]
        waiting = [task for task in self.tasks if self._will_retry(task)]
        completed = [task for task in self._ended_in_window() if task["status"] in COMPLETED]
        return Facts(
            pending=self._in(PENDING),
            running=self._in(RUNNING),
            completed=self._in(COMPLETED),
            failed=self._in(FAILED),
            cancelled=self._in(CANCELLED),
            other=sum(task["status"] not in KNOWN for task in self.tasks),
            blocked=None,
            stuck=sum(self._stuck(task) for task in self.tasks),
            retry_queue=len(waiting) if attempts_recorded else None,
            in_backoff=sum(self._in_backoff(task) for task in waiting) if attempts_recorded else None,
            task_time=_durations((task["created_at"], task["completed_at"]) for task in completed),
            step_time=self._step_time(),
            window_completed=len(completed),
            window_failed=sum(task["status"] in FAILED for task in self._ended_in_window()),
            retries_settled=len(settled) if attempts_recorded else None,
            retries_succeeded=sum(not _failed(steps[-1]) for steps in settled) if attempts_recorded else None,
        )

    def _in(self, states: set[str | None]) -> int:
        return sum(task["status"] in states for task in self.tasks)

    def _in_window(self, time_ms: int | None) -> bool:
        return time_ms is not None and time_ms >= self.since_ms

    def _ended_in_window(self) -> list[Row]:
        return [task for task in self.tasks if self._in_window(task["completed_at"])]

    def _steps(self, workflow: str) -> list[Row]:
        return [row for row in self.operations[workflow] if _is_step(row)]

    def _step_time(self) -> Durations:
        """Sum up what every step took that went well within the window, of which it is known."""
        every = [row for rows in list(self.operations.values()) for row in rows if _is_step(row) and not _failed(row)]
        return _durations(
            (row["started_at_epoch_ms"], row["completed_at_epoch_ms"])
            for row in every
            if self._in_window(row["completed_at_epoch_ms"]) and row["started_at_epoch_ms"] is not None
        )

    def _will_retry(self, task: Row) -> bool:
        """Say whether the last step of a task that is still alive has failed."""
        steps = self._steps(task["workflow_uuid"])
        return task["status"] in PENDING | RUNNING and bool(steps) and _failed(steps[-1])

    def _in_backoff(self, task: Row) -> bool:
        """Say whether a durable sleep after the last step has not ended."""
        last_step = self._steps(task["workflow_uuid"])[-1]["function_id"]
        return any(
            row["function_name"] == "DBOS.sleep"
            and row["function_id"] > last_step
            and row["completed_at_epoch_ms"] is not None
            and row["completed_at_epoch_ms"] > self.now_ms
            for row in self.operations[task["workflow_uuid"]]
        )

    def _retried_steps(self) -> list[list[Row]]:
        """Return the attempts of each step of a known task that had failed before its last attempt."""
        found = []
        for task in self.tasks:
            by_name: dict[str, list[Row]] = defaultdict(list)
            for row in self._steps(task["workflow_uuid"]):
                by_name[row["function_name"]].append(row)
            found += [attempts for attempts in by_name.values() if any(map(_failed, attempts[:-1]))]
        return found

    def _settled(self, attempts: list[Row]) -> bool:
        """Say whether the last of *attempts* fell within the window and nothing more will come of it."""
        last = attempts[-1]
        if not self._in_window(last["completed_at_epoch_ms"]):
            return False
        if not _failed(last):
            return True
        task = next(task for task in self.tasks if task["workflow_uuid"] == last["workflow_uuid"])
        gone_on = self._steps(task["workflow_uuid"])[-1] is not last
        return gone_on or task["status"] in COMPLETED | FAILED

    def _stuck(self, task: Row) -> bool:
        changes = [task["created_at"], task["updated_at"], task["started_at_epoch_ms"]]
        changes += [row["completed_at_epoch_ms"] for row in self.operations[task["workflow_uuid"]]]
        return task["status"] in RUNNING and all(time < self.stuck_since_ms for time in changes if time is not None)


def _is_step(operation: Row) -> bool:
    """Say whether this is the application's step: not DBOS' own operation, not the start of a child."""
    return operation["child_workflow_id"] is None and not operation["function_name"].startswith("DBOS.")


def _failed(operation: Row) -> bool:
    return operation["error"] is not None


def _durations(spans: Iterable[tuple[int, int]]) -> Durations:
    # What ended before it began, by clocks that differ, has no duration.
    lengths = [end - start for start, end in spans if end >= start]
    return Durations(len(lengths), sum(lengths))
