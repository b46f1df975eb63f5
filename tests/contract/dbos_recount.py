"""The figures of DBOS' tables, counted one by one from raw rows.

Written from the definitions (the contract's table of `status`, the docstring of `tasker_health.sources.dbos`), not
from the source's SQL: where the two disagree, one of them is wrong.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from tasker_health.model import Durations, Facts
from tasker_health.work import BLOCKING, Cause, Outcome, QueueFlow
from tasker_health.workers import Workers, WorkerState

Row = dict[str, Any]

PENDING = {None, "ENQUEUED", "DELAYED"}
RUNNING = {"PENDING"}
COMPLETED = {"SUCCESS"}
FAILED = {"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
CANCELLED = {"CANCELLED"}
ENDED = COMPLETED | FAILED | CANCELLED
KNOWN = PENDING | RUNNING | COMPLETED | FAILED | CANCELLED


class Recount:
    """What a person with a pencil would find.

    Args:
        tasks: Rows of `workflow_status`.
        operations: Rows of `operation_outputs`.
        now_ms: The time at which they were read.
        window_ms: Window of averages and ratios.
        stuck_ms: A running task without a recorded change for so long is stuck.
        queues: Rows of `queues`.
        workers: Who has a heartbeat; `None`: it cannot be known.
    """

    def __init__(
        self,
        tasks: list[Row],
        operations: list[Row],
        now_ms: int,
        window_ms: int,
        stuck_ms: int,
        *,
        queues: Iterable[Row] = (),
        workers: Workers | None = None,
    ) -> None:
        self.limits = {
            row["name"]: row["concurrency"] for row in queues if row["concurrency"] and not row["partition_queue"]
        }
        self.workers = [each for each in (workers.all if workers else ()) if each.beat.engine == "dbos"]
        self.flow_since = (now_ms - window_ms) // 60_000
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
        causes = self.causes()
        ended = [task for task in self.tasks if self._in_flow(task["completed_at"]) and task["status"] in ENDED]
        return Facts(
            pending=self._in(PENDING),
            running=self._in(RUNNING),
            completed=self._in(COMPLETED),
            failed=self._in(FAILED),
            cancelled=self._in(CANCELLED),
            other=sum(task["status"] not in KNOWN for task in self.tasks),
            blocked=sum(causes[cause] for cause in causes.keys() & BLOCKING) if self.workers else None,
            stuck=sum(self._stuck(task) for task in self.tasks),
            retry_queue=len(waiting) if attempts_recorded else None,
            in_backoff=sum(self._in_backoff(task) for task in waiting) if attempts_recorded else None,
            task_time=_durations((task["created_at"], task["completed_at"]) for task in completed),
            step_time=self._step_time(),
            window_completed=len(completed),
            window_failed=sum(task["status"] in FAILED for task in self._ended_in_window()),
            retries_settled=len(settled) if attempts_recorded else None,
            retries_succeeded=sum(not _failed(steps[-1]) for steps in settled) if attempts_recorded else None,
            causes=causes,
            flow=QueueFlow(
                arrived=sum(self._in_flow(task["created_at"]) for task in self.tasks),
                ended=len(ended),
                **self._ready(self.tasks),
            ),
            queues={
                queue: QueueFlow(
                    ended=sum(task["queue_name"] == queue for task in ended),
                    **self._ready([task for task in self.tasks if task["queue_name"] == queue]),
                )
                for queue in self._queues(ended)
            },
            outcomes=self._outcomes(),
        )

    def causes(self) -> dict[Cause, int]:
        """Return how many tasks stand still, by cause."""
        seen = [Cause.NOT_TAKEN, Cause.RUNNING_LONG, Cause.NO_PROGRESS]
        if self.workers:
            seen += [Cause.WORKER_DEAD, Cause.NO_WORKER_OF_VERSION, Cause.NO_WORKER, Cause.LOCKED]
        counted = Counter(map(self.cause, self.tasks))
        return {cause: counted[cause] for cause in seen}

    def cause(self, task: Row) -> Cause | None:
        """Return why *task* stands still; `None`: it does not."""
        if task["status"] == "PENDING":
            return self._cause_of_running(task)
        return self._cause_of_waiting(task) if task["status"] == "ENQUEUED" else None

    def _cause_of_running(self, task: Row) -> Cause | None:
        if self._has_lost_its_worker(task):
            mine = [each for each in self._alive() if each.owner_id == task["executor_id"]]
            is_nobodys = not any(self._runs(each, task["application_version"]) for each in self._alive())
            return Cause.NO_WORKER_OF_VERSION if mine and is_nobodys else Cause.WORKER_DEAD
        lengths = sorted(
            other["completed_at"] - self._began(other)
            for other in self.tasks
            if other["status"] == "SUCCESS" and self._in_window(other["completed_at"]) and other["name"] == task["name"]
        )
        lengths = [each for each in lengths if each >= 0]
        runs_for = self.now_ms - self._began(task)
        if len(lengths) >= 20:
            p99 = lengths[math.ceil(len(lengths) * 0.99) - 1]
            if runs_for > 2 * p99 and runs_for > p99 + 10_000:
                return Cause.RUNNING_LONG
        return Cause.NO_PROGRESS if self._stuck(task) else None

    def _has_lost_its_worker(self, task: Row) -> bool:
        alive, executor = self._alive(), task["executor_id"]
        if not self.workers or executor is None:
            return False
        if any(task["workflow_uuid"] in {run.id for run in each.beat.running} for each in alive):
            return False
        periods = [each.beat.period_seconds for each in self.workers]
        changed = max(task["created_at"], task["updated_at"], task["started_at_epoch_ms"] or 0)
        is_new = self.now_ms - changed < 3000 * max(periods)
        mine = [each for each in alive if each.owner_id == executor]
        dead = [each for each in self.workers if each.state is WorkerState.DEAD]
        if not mine:
            return not is_new or any(each.owner_id == executor for each in dead)
        if is_new:
            return False
        if not any(self._runs(each, task["application_version"]) for each in mine):
            return True
        was_of_a_dead_one = any(run.id == task["workflow_uuid"] for each in dead for run in each.beat.running)
        return was_of_a_dead_one and all(each.beat.running_count <= len(each.beat.running) for each in mine)

    def _cause_of_waiting(self, task: Row) -> Cause | None:
        queue, version = task["queue_name"], task["application_version"]
        if self.workers:
            fitting = [each for each in self._alive() if self._runs(each, version)]
            if version is not None and not fitting:
                return Cause.NO_WORKER_OF_VERSION
            if not any(
                not each.beat.queues or queue in {None, "_dbos_internal_queue", *each.beat.queues} for each in fitting
            ):
                return Cause.NO_WORKER
            holders = [other for other in self._in_queue(queue) if other["status"] == "PENDING"]
            is_full = queue in self.limits and len(holders) >= self.limits[queue]
            if is_full and all(self._cause_of_running(other) in BLOCKING for other in holders):
                return Cause.LOCKED
        return Cause.NOT_TAKEN if self._waits_since(task) < self.stuck_since_ms else None

    def _alive(self) -> list[Any]:
        return [each for each in self.workers if each.state is not WorkerState.DEAD]

    def _runs(self, worker: Any, version: str | None) -> bool:
        return None in {version, worker.beat.version} or worker.beat.version == version

    def _in_queue(self, queue: str | None) -> list[Row]:
        return [task for task in self.tasks if task["queue_name"] == queue]

    def _began(self, task: Row) -> int:
        return task["created_at"] if task["started_at_epoch_ms"] is None else task["started_at_epoch_ms"]

    def _waits_since(self, task: Row) -> int:
        return max(task["created_at"], task["updated_at"], task["delay_until_epoch_ms"] or 0)

    def _ready(self, tasks: list[Row]) -> dict[str, int | None]:
        ready = [each for each in tasks if each["status"] == "ENQUEUED" and self.cause(each) is not Cause.LOCKED]
        oldest = min(map(self._waits_since, ready), default=None)
        age = None if oldest is None else max(0, (self.now_ms - oldest) // 1000)
        return {"ready": len(ready), "oldest_ready_seconds": age}

    def _queues(self, ended: list[Row]) -> list[str]:
        alive = [task for task in self.tasks if task["status"] in {"ENQUEUED", "PENDING"}]
        return sorted({task["queue_name"] for task in alive + ended if task["queue_name"]})

    def _in_flow(self, time_ms: int | None) -> bool:
        return time_ms is not None and time_ms // 60_000 >= self.flow_since

    def _outcomes(self) -> tuple[Outcome, ...]:
        counted: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
        for task in self.tasks:
            if task["status"] not in COMPLETED | FAILED or task["completed_at"] is None:
                continue
            minute = task["completed_at"] // 60_000
            if minute > self.now_ms // 60_000 - 15 and self._in_flow(task["completed_at"]):
                kind = (minute, task["name"], task["queue_name"], task["application_version"])
                counted[kind][task["status"] in FAILED] += 1
        told = [Outcome(*kind, *ended) for kind, ended in counted.items()]
        return tuple(sorted(told, key=lambda each: (each.minute, -each.failed, -each.completed, *map(str, _of(each)))))

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


def _of(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.handler or "", outcome.queue or "", outcome.version or ""
