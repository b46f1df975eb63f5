"""All that a report says, as plain values: what JSON holds, and what text and HTML are made of."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from typing import Any

from tasker_health.cli.load_test.marks import MISSED, UNKNOWN, Terms, Verdict, verdicts
from tasker_health.cli.load_test.plan import Plan
from tasker_health.cli.load_test.record import (
    BOUNDS_MS,
    CACHED,
    SLOWEST,
    UNCACHED,
    Record,
    histogram,
    merged,
    over_time,
    spread,
)
from tasker_health.cli.load_test.run import Run

VERSION = 1
"""Of the JSON: a key never changes its meaning within one; new keys may be added."""

PASSED, FAILED, NOT_JUDGED = 0, 1, 2
_ACHIEVED_SHARE = 0.95


def figures_of(run: Run, url: str, terms: Terms) -> dict[str, Any]:
    """Return what came of *run* against *url*, held against *terms*; latencies in milliseconds, 3 places."""
    judged = verdicts(terms, run.records, is_client_busy=run.is_client_busy)
    endpoints = {name: _endpoint(record, run) for name, record in run.records.items()}
    slow = heapq.nlargest(SLOWEST, itertools.chain(*(record.slowest for record in run.records.values())))
    began_at = dt.datetime.fromtimestamp(run.began_at, dt.UTC)
    return {
        "version": VERSION,
        "url": url,
        "began_at": began_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(run.seconds, 3),
        "stopped_early": bool(run.stopped_by),
        "plan": _plan(run.plan),
        "client": {
            "is_bottleneck": run.is_client_busy,
            "loop_lag_p99_ms": round(run.lag_ms, 3),
            "loop_lag_max_ms": round(run.most_lag_ms, 3),
            "processor_share": round(run.processor_share, 3),
        },
        "exit_code": exit_code(run, judged),
        "marks": [_mark(verdict) for verdict in judged],
        "endpoints": endpoints,
        "histogram": {
            "bounds_ms": list(BOUNDS_MS),
            "counts": merged(each["histogram"] for each in endpoints.values()),
        },
        "slowest": [
            {
                "endpoint": each.endpoint,
                "due_seconds": round(each.due_seconds, 3),
                "sent_late_ms": round(each.late_ms, 3),
                "latency_ms": round(each.latency_ms, 3),
                "code": each.code or None,
                "fault": each.fault or None,
            }
            for each in slow
        ],
    }


def exit_code(run: Run, judged: list[Verdict]) -> int:
    """Return 0 when all was kept, 1 when the server did not keep it, 2 when that cannot be told, or 128 + signal."""
    if run.stopped_by:
        return 128 + run.stopped_by
    faults = {fault for record in run.records.values() for fault in record.faults}
    if faults - {"exhausted"} or any(each.outcome == MISSED for each in judged):
        return FAILED
    unknown = "exhausted" in faults or any(each.outcome == UNKNOWN and each.measured_ms is not None for each in judged)
    unknown = unknown or not any(record.count for record in run.records.values())
    return NOT_JUDGED if unknown else PASSED


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "loop": "closed" if plan.rate is None else "open",
        "rate": plan.rate,
        "concurrency": plan.concurrency,
        "seconds": plan.seconds,
        "requests": plan.requests,
        "endpoints": list(plan.endpoints),
        "in_turn": plan.in_turn,
        "timeout_seconds": plan.timeout_seconds,
        "warm_up_seconds": plan.warm_up_seconds,
        "kept_alive": plan.kept_alive,
        "words": plan.words,
    }


def _mark(verdict: Verdict) -> dict[str, Any]:
    mark = verdict.mark
    return {
        "name": mark.name,
        "endpoint": mark.endpoint,
        "group": mark.group,
        "percentile": verdict.percentile,
        "limit_ms": mark.limit_ms,
        "measured_ms": _rounded(verdict.measured_ms),
        "outcome": verdict.outcome,
    }


def _endpoint(record: Record, run: Run) -> dict[str, Any]:
    plan, per_second = run.plan, record.per_second
    seconds = record.last_ended if plan.in_turn else max(run.seconds, record.last_ended)
    reached = None if plan.rate is None else per_second >= plan.rate * _ACHIEVED_SHARE
    return {
        "requests": record.count,
        "good": record.count - sum(record.faults.values()),
        "unhealthy": record.unhealthy,
        "unfinished": record.unfinished,
        "asked_per_second": plan.rate,
        "achieved_per_second": round(per_second, 2),
        "is_rate_achieved": reached,
        "codes": {str(code): count for code, count in sorted(record.codes.items())},
        "faults": dict(record.faults.most_common()),
        "latency_ms": _spread(record.latency_ms),
        "service_ms": _spread(record.service_ms),
        "cached": _kind(record, CACHED),
        "uncached": _kind(record, UNCACHED),
        "histogram": histogram(record.latency_ms),
        "over_time": [
            {
                "begins_seconds": round(slot.begins_seconds, 3),
                "requests": slot.requests,
                "p50_ms": _rounded(slot.p50_ms),
                "p99_ms": _rounded(slot.p99_ms),
                "max_ms": _rounded(slot.max_ms),
            }
            for slot in over_time(record, seconds)
        ],
    }


def _kind(record: Record, kind: int) -> dict[str, Any] | None:
    values = record.of_kind(kind)
    return {"requests": len(values), "latency_ms": _spread(values)} if values else None


def _spread(values: Any) -> dict[str, Any]:
    found = spread(values)
    percentiles = {f"p{name}": _rounded(value) for name, value in found.percentiles.items()}
    return {"mean": _rounded(found.mean), **percentiles, "max": _rounded(found.max)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
