"""What has ended lately: read once while RQ keeps it, and remembered for as long as it is told of.

RQ deletes a job that is finished after its `result_ttl`, 500 seconds by default. So of the window all is known only
when it was looked at often enough for so long, or when RQ keeps jobs for longer than the window.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence

from tasker_health.sources.recent import Kind, Recent
from tasker_health.sources.rq.look import Asker, EndedId, Job, Look, score_of, seconds_of
from tasker_health.sources.rq.scripts import ENDED_AT_ONCE, MOST_ENDED
from tasker_health.sources.window import Ended, Window
from tasker_health.work import OUTCOME_MINUTES, Outcome

DEFAULT_KEPT_SECONDS = 500.0
"""RQ keeps a finished job for so long unless it is told otherwise (`DEFAULT_RESULT_TTL`)."""

LEAST_SAMPLES, MOST_SAMPLES = 20, 200
"""What a function usually takes is known when so many have ended well; the newest of them are remembered."""

_MOST_FUNCTIONS, _MOST_CREATED = 500, 10_000


class EndedJobs:
    """Remembers what has ended.

    Args:
        window_seconds: Of averages and ratios.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._seen: set[EndedId] = set()
        self._kept_until: dict[EndedId, float] = {}
        self._kept_seconds = DEFAULT_KEPT_SECONDS
        self._known_since = math.inf
        self._read_at = -math.inf
        self._windows: dict[str, Window] = {}
        self._recent = Recent()
        self._created: dict[str, tuple[float, str]] = {}
        self._lengths: dict[str, deque[float]] = {}

    async def take(self, look: Look, asker: Asker) -> None:
        """Take in what has ended since the last look.

        Raises:
            SourceFault: Redis did not answer.
        """
        if sum(queue.finished + queue.failed for queue in look.queues) > MOST_ENDED:
            self._known_since, self._read_at = math.inf, look.now
            self._forget(look.now)
            return
        new = [each for each in look.ended if each not in self._seen]
        for at in range(0, len(new), ENDED_AT_ONCE):
            some = new[at : at + ENDED_AT_ONCE]
            for entry, job in zip(some, await asker.jobs([each.id for each in some]), strict=True):
                self._add(entry, job)
            await asyncio.sleep(0)  # others have a turn
        self._seen = set(look.ended)
        self._kept_until = {entry: kept for entry, kept in self._kept_until.items() if entry in self._seen}
        self._kept_seconds = min(self._kept_until.values(), default=self._kept_seconds)
        has_evidence = bool(self._kept_until)
        if look.now - self._read_at > self._kept_seconds:
            self._known_since = math.inf
        self._known_since = min(self._known_since, look.now - (self._kept_seconds if has_evidence else 0.0))
        self._read_at = look.now
        self._forget(look.now)

    def is_known(self, now: float, seconds: float) -> bool:
        """Return whether all is known that has ended in the last *seconds*."""
        return self._known_since <= now - seconds

    def window(self, now: float) -> Mapping[str, Ended]:
        """Return what was seen to end within the window, by queue."""
        return {queue: window.total(now) for queue, window in self._windows.items()}

    def outcomes(self, now: float) -> tuple[Outcome, ...] | None:
        """Return how work has ended lately; `None`: not all of it is known."""
        return self._recent.outcomes() if self.is_known(now, OUTCOME_MINUTES * 60) else None

    def created(self, now: float) -> Mapping[str, str] | None:
        """Return the queues of what was created within the window and has ended, by id; `None`: not known."""
        if not self.is_known(now, self._window_seconds) or len(self._created) >= _MOST_CREATED:
            return None
        since = now - self._window_seconds
        return {id: queue for id, (at, queue) in self._created.items() if at >= since}  # noqa: A001

    def longest_usual(self, function: str) -> float | None:
        """Return the p99 of what *function* took lately, in seconds; `None`: too few to tell."""
        samples: Sequence[float] = sorted(self._lengths.get(function, ()))
        if len(samples) < LEAST_SAMPLES:
            return None
        return samples[math.ceil(0.99 * len(samples)) - 1]

    def _add(self, entry: EndedId, job: Job) -> None:
        created, started, ended = (seconds_of(text) for text in (job.created_at, job.started_at, job.ended_at))
        if ended is None:
            return
        if (score := score_of(entry.score)) < math.inf:
            self._kept_until[entry] = max(0.0, score - ended)
        else:
            self._kept_until[entry] = math.inf
        is_well = entry.kind == "finished"
        if created is not None and len(self._created) < _MOST_CREATED:
            self._created[entry.id] = created, entry.queue
        if job.status == "stopped":
            return  # on request: it is no failure
        timed_task = is_well and created is not None and ended >= created
        timed_step = is_well and started is not None and ended >= started
        task_ms = round((ended - created) * 1000) if timed_task and created is not None else 0
        step_ms = round((ended - started) * 1000) if timed_step and started is not None else 0
        window = self._windows.setdefault(entry.queue, Window(self._window_seconds))
        sums = Ended(int(is_well), int(not is_well), int(timed_task), task_ms, int(timed_step), step_ms)
        window.add([(math.floor(ended / window.bucket_seconds), sums)])
        kind = Kind(int(ended // 60), job.function or None, entry.queue, None)
        (self._recent.completed if is_well else self._recent.failed)[kind] += 1
        if timed_step and (job.function in self._lengths or len(self._lengths) < _MOST_FUNCTIONS):
            self._lengths.setdefault(job.function, deque(maxlen=MOST_SAMPLES)).append(step_ms / 1000)

    def _forget(self, now: float) -> None:
        for queue, window in list(self._windows.items()):
            window.forget(now)
            if not window.buckets:
                del self._windows[queue]
        self._recent.forget(int(now * 1000), round(self._window_seconds * 1000))
        since = now - self._window_seconds
        self._created = {id: pair for id, pair in self._created.items() if pair[0] >= since}  # noqa: A001
