"""What is answered: status code and JSON body, from heartbeats and from what the application has published."""

from __future__ import annotations

from _json import encode_basestring

from tasker_health.guard.memory import DRAINING
from tasker_health.guard.watch import SECOND, Watch, Worker

Report = tuple[int, bytes]

OK, UNAVAILABLE = 200, 503

_NAME = b"abcdefghijklmnopqrstuvwxyz0123456789_-"
_LONGEST_NAME = 63


class Reports:
    """Chooses among the reports of all workers.

    Args:
        watch: Knows who is alive.
        service: Name of the service, told by `live`.
        max_age_seconds: Oldest readiness that is passed on.

    Attributes:
        timestamp: What answers of the guard's own carry.
        now: When `watch` looked last, by CLOCK_MONOTONIC in nanoseconds.
    """

    def __init__(self, watch: Watch, service: str, max_age_seconds: float) -> None:
        self._watch = watch
        self._service = encode_basestring(service)
        self._max_age_ns = int(max_age_seconds * SECOND)
        self.timestamp = ""
        self.now = 0

    def live(self) -> Report:
        """Should this application be restarted? From heartbeats only."""
        watch = self._watch
        begin = f'"timestamp":"{self.timestamp}","service":{self._service}'
        if watch.alive:
            return OK, f'{{"alive":true,{begin}}}'.encode("utf-8", "replace")
        end = f'"reason":"{watch.reason}","stalled_seconds":{watch.stalled_seconds:.1f}'
        return UNAVAILABLE, f'{{"alive":false,{begin},{end}}}'.encode("utf-8", "replace")

    def startup(self) -> Report:
        """Has it finished starting? That one worker has is true for good, whoever starts after it."""
        found = [(worker, report) for worker in self._watch.workers if (report := worker.reports.get("startup"))]
        if not found:
            return UNAVAILABLE, (
                f'{{"started":false,"waiting_for":["application"],"timestamp":"{self.timestamp}"}}'.encode()
            )
        return max(found, key=lambda each: (each[1][0] == OK, _published(each[0])))[1]

    def ready(self, check: str = "") -> Report | None:
        """Should it get traffic now? Of *check* alone, if one is named; `None` when there is no such check."""
        serving = [worker for worker in self._watch.workers if not worker.slot.flags & DRAINING]
        fresh = [worker for worker in serving if worker.fresh]
        # Who published last; a worker that never did, such as a second event loop, only if nobody did.
        newest = max(fresh or serving or self._watch.workers, key=_published, default=None)
        reports = {} if newest is None else newest.reports
        report = reports.get(f"ready/{check}" if check else "ready")
        if check and report is None and ("ready" in reports or not _is_name(check)):
            return None
        if serving and (not fresh or (report is not None and self._is_old(newest))):
            return self._not_ready(check, "error", "stalled")
        if report is None:
            return self._not_ready(check, "unknown", "not_run")
        if not serving:  # all are about to stop
            return self._not_ready(check, "error", "draining") if report[0] == OK else report
        return report if check or len(fresh) == len(serving) else (report[0], with_stalled_workers(report[1]))

    def _is_old(self, worker: Worker | None) -> bool:
        published = 0 if worker is None else worker.slot.published_ns
        return self.now - max(published, self._watch.since) > self._max_age_ns

    def _not_ready(self, check: str, status: str, reason: str) -> Report:
        name = check or "application"
        checks = f'{{"{name}":{{"status":"{status}","reason":"{reason}"}}}}'
        end = f'"checks":{checks},"timestamp":"{self.timestamp}"'
        return UNAVAILABLE, f'{{"ready":false,"failed_checks":["{name}"],{end}}}'.encode()


def with_stalled_workers(body: bytes) -> bytes:
    """Return a readiness report with a degraded check `workers`: some have stalled, others serve.

    The report is not decoded for that: `json` would cost a megabyte, and reading it from a disk that may hang with
    everything else. Only names of checks, which hold no quotes, stand before the first `"checks":{`.
    """
    before, checks, after = body.partition(b'"checks":{')
    if not checks or b'"workers":{' in after:
        return body
    listed = b'"degraded_checks":['
    rest, found, others = before.rpartition(listed)
    before = rest + listed + _first(b'"workers"', others) if found else before + listed + b'"workers"],'
    return before + checks + _first(b'"workers":{"status":"degraded","reason":"stalled"}', after)


def _first(item: bytes, others: bytes) -> bytes:
    """Return *item* before *others* of a list or an object that may end at once."""
    return item + (b"" if others[:1] in {b"]", b"}"} else b",") + others


def _published(worker: Worker) -> int:
    return worker.slot.published_ns


def _is_name(check: str) -> bool:
    """Whether *check* may be the name of one."""
    name = check.encode("latin-1")
    return len(name) <= _LONGEST_NAME and name[:1].isalpha() and not name.translate(None, _NAME)
