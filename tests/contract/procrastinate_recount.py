"""The figures of Procrastinate's tables, counted one by one from raw rows by what its page in the docs says."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

from contract.backend import Rows
from tasker_health.model import Durations, Facts
from tasker_health.work import BLOCKING, Cause, Outcome, QueueFlow

Row = dict[str, Any]

_GOOD, _BAD = "succeeded", ("failed", "aborted")


class Recount:
    """What a person with a pencil would find, where no heartbeat of ours is known.

    Args:
        raw: Rows by table; times are seconds since the epoch.
        now: The time.
        window: Of averages and ratios, in seconds.
        stuck_after: Work without a change for so long is stuck.
    """

    def __init__(self, raw: Rows, now: float, window: float, stuck_after: float) -> None:
        self.now, self.old = now, now - stuck_after
        self.since = math.floor(now) - window
        self.window = window
        self.jobs = raw["procrastinate_jobs"]
        self.beats = {row["id"]: row["last_heartbeat"] for row in raw["procrastinate_workers"]}
        self.events: dict[int, list[Row]] = defaultdict(list)
        for event in sorted(raw["procrastinate_events"], key=lambda row: row["id"]):
            self.events[event["job_id"]].append(event)
        self.ends = [end for job in self.jobs for end in self._ends(job)]

    def facts(self) -> Facts:
        """Return every figure; connections are left out."""
        states = Counter(job["status"] for job in self.jobs)
        again = [job for job in self._in("todo") if job["attempts"] > 0]
        causes = self._causes()
        ended = [end for end in self.ends if end["at"] >= self.since]
        good, bad = ([end for end in ended if end["as"] in kinds] for kinds in ((_GOOD,), _BAD))
        retried = [end for end in good + bad if end["again"]]
        pending = [job for job in self._in("todo") if job["attempts"] == 0]
        return Facts(
            pending=len(pending),
            running=states["doing"] + len(again),
            completed=states["succeeded"],
            failed=states["failed"] + states["aborted"],
            cancelled=states["cancelled"],
            other=states["aborting"],
            blocked=sum(number for cause, number in causes.items() if cause in BLOCKING),
            stuck=sum(self._is_stuck(job) for job in self.jobs),
            retry_queue=len(again),
            in_backoff=sum(not self._is_due(job) for job in again),
            task_time=_durations([end["task"] for end in good]),
            step_time=_durations([end["step"] for end in good]),
            window_completed=len(good),
            window_failed=len(bad),
            retries_settled=len(retried),
            retries_succeeded=sum(end["as"] == _GOOD for end in retried),
            tasks_by_state=dict(sorted(states.items())),
            oldest_pending_seconds=self._age(self._created(min(pending, key=_id))) if pending else None,
            causes=causes,
            flow=self._flow(None),
            queues={queue: self._flow(queue) for queue in self._queues()},
            outcomes=self._outcomes(good, bad),
        )

    def _in(self, status: str) -> list[Row]:
        return [job for job in self.jobs if job["status"] == status]

    def _created(self, job: Row) -> float:
        return min(event["at"] for event in self.events[job["id"]] if event["type"] == "deferred")

    def _started(self, job: Row) -> float:
        return max(event["at"] for event in self.events[job["id"]] if event["type"] == "started")

    def _ready_since(self, job: Row) -> float:
        return self._created(job) if job["scheduled_at"] is None else job["scheduled_at"]

    def _is_due(self, job: Row) -> bool:
        return job["scheduled_at"] is None or job["scheduled_at"] <= self.now

    def _is_locked(self, job: Row) -> bool:
        rivals = [each for each in self.jobs if each["lock"] == job["lock"] is not None and each is not job]
        return any(
            each["status"] == "doing"
            or (each["status"] == "todo" and (-each["priority"], each["id"]) < (-job["priority"], job["id"]))
            for each in rivals
        )

    def _is_stuck(self, job: Row) -> bool:
        if job["status"] == "doing":
            return self._started(job) < self.old
        is_due = job["status"] == "todo" and job["attempts"] > 0 and self._is_due(job)
        return is_due and self._ready_since(job) < self.old

    def _ends(self, job: Row) -> list[Row]:
        """Return each end of a job; one that was finished while it waited is called `cancelled`, too."""
        found, events = [], self.events[job["id"]]
        for place, event in enumerate(events):
            kind = event["type"]
            if kind not in {_GOOD, *_BAD, "cancelled"}:
                continue
            before, after = events[:place], [each["type"] for each in events[place + 1 :]]
            if kind == "cancelled":
                kind = "failed" if "retried" in after else job["status"]
            starts = [each["at"] for each in before if each["type"] == "started"]
            found.append(
                {
                    "at": event["at"],
                    "as": kind,
                    "task": event["at"] - self._created(job),
                    "step": event["at"] - starts[-1] if starts else None,
                    "again": any(each["type"] in {"deferred_for_retry", "retried"} for each in before),
                    "name": job["task_name"],
                    "queue": job["queue_name"],
                }
            )
        return found

    def _cause(self, job: Row) -> Cause | None:
        if job["status"] == "doing":
            return self._cause_of_running(job)
        if job["status"] != "todo" or not self._is_due(job):
            return None
        if all(at < self.now - 30 for at in self.beats.values()):
            return Cause.NO_WORKER
        if self._is_locked(job):
            return Cause.LOCKED
        return Cause.NOT_TAKEN if self._ready_since(job) < self.old else None

    def _cause_of_running(self, job: Row) -> Cause | None:
        if self.beats.get(job["worker_id"], -math.inf) < self.now - 30:
            return Cause.WORKER_DEAD
        lengths = sorted(
            end["step"]
            for end in self.ends
            if end["as"] == _GOOD
            and end["name"] == job["task_name"]
            and end["step"] is not None
            and end["at"] >= math.floor((self.now - self.window) / 60) * 60
        )
        seconds = self.now - self._started(job)
        if len(lengths) >= 20:
            p99 = lengths[math.ceil(0.99 * len(lengths)) - 1]
            if seconds > max(2 * p99 * 1.06, p99 * 1.06 + 10):
                return Cause.RUNNING_LONG
        return Cause.NO_PROGRESS if self._is_stuck(job) else None

    def _causes(self) -> dict[Cause, int]:
        seen = (Cause.WORKER_DEAD, Cause.NO_WORKER, Cause.LOCKED, Cause.NOT_TAKEN, Cause.RUNNING_LONG)
        counted = Counter(map(self._cause, self.jobs))
        return {cause: counted[cause] for cause in (*seen, Cause.NO_PROGRESS)}

    def _queues(self) -> list[str]:
        events = {event["job_id"] for events in self.events.values() for event in events if self._is_flow(event)}
        return sorted(
            {job["queue_name"] for job in self.jobs if job["status"] in {"todo", "doing"} or job["id"] in events}
        )

    def _is_flow(self, event: Row) -> bool:
        return event["at"] >= self.since and event["type"] in {"deferred", _GOOD, *_BAD, "cancelled"}

    def _flow(self, queue: str | None) -> QueueFlow:
        jobs = [job for job in self.jobs if queue in {None, job["queue_name"]}]
        ready = [each for each in jobs if each["status"] == "todo" and self._is_due(each) and not self._is_locked(each)]
        # Of those without a time of their own the one with the smallest id in each part is the oldest.
        times = [each["scheduled_at"] for each in ready if each["scheduled_at"] is not None]
        parts: dict[Any, list[Row]] = defaultdict(list)
        for each in ready:
            if each["scheduled_at"] is None:
                parts[each["queue_name"], each["attempts"] > 0].append(each)
        times += [self._created(min(several, key=_id)) for several in parts.values()]
        arrived = [event for job in jobs for event in self.events[job["id"]] if event["type"] == "deferred"]
        return QueueFlow(
            arrived=sum(event["at"] >= self.since for event in arrived),
            ended=sum(end["at"] >= self.since and queue in {None, end["queue"]} for end in self.ends),
            ready=len(ready),
            oldest_ready_seconds=self._age(min(times)) if times else None,
        )

    def _outcomes(self, good: list[Row], bad: list[Row]) -> tuple[Outcome, ...]:
        counted: dict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for place, ends in enumerate((good, bad)):
            for end in ends:
                counted[math.floor(end["at"] / 60), end["name"], end["queue"]][place] += 1
        told = [Outcome(minute, name, queue, None, *ended) for (minute, name, queue), ended in counted.items()]
        told = [each for each in told if each.minute > math.floor(self.now / 60) - 15]
        return tuple(sorted(told, key=lambda each: (each.minute, -each.failed, -each.completed, each.handler)))

    def _age(self, at: float) -> int:
        return max(0, int(self.now - at))


def _id(job: Row) -> int:
    return job["id"]


def _durations(seconds: list[float | None]) -> Durations:
    lengths = [round(each * 1000) for each in seconds if each is not None and each >= 0]
    return Durations(len(lengths), sum(lengths))
