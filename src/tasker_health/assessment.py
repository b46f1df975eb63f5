"""From facts to a judgement: figures over all sources, and why the system is not healthy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct

from tasker_health.clock import timestamp
from tasker_health.flow import flow_report, queue_reports
from tasker_health.model import (
    Connections,
    Durations,
    Facts,
    PerformanceMetrics,
    Reason,
    SourceReport,
    StatusReason,
    SystemHealth,
    SystemStatus,
    worst,
)
from tasker_health.settings import HealthSettings
from tasker_health.work import Blame


class Reading(Struct, frozen=True, kw_only=True):
    """What is known of one source when somebody asks.

    Attributes:
        name: The source.
        facts: The newest facts; `None`: never read.
        read_at: When they were read, seconds since the epoch.
        read_at_monotonic: The same on the monotonic clock.
        age_seconds: How long ago that was when the answer is made.
        fault: Why the latest attempt to read failed, or `None`.
        own: Whether this very asker waited for the facts.
    """

    name: str
    facts: Facts | None = None
    read_at: float = 0
    read_at_monotonic: float = 0
    age_seconds: float = 0
    fault: Reason | None = None
    own: bool = False


class Assessment(Struct, frozen=True, kw_only=True):
    """The judgement over all sources."""

    status: SystemStatus
    reasons: list[StatusReason]
    system_health: SystemHealth
    performance_metrics: PerformanceMetrics
    database: Connections
    sources: dict[str, SourceReport]


class Noticed(Struct, frozen=True, kw_only=True):
    """What readings one after the other show of a source.

    Attributes:
        stands: Whether nothing moves.
        blame: What fails; `None`: not known.
    """

    stands: bool = False
    blame: list[Blame] | None = None


def assess(
    readings: Sequence[Reading], settings: HealthSettings, now: float, noticed: Mapping[str, Noticed] | None = None
) -> Assessment:
    """Return the judgement over *readings*, with what was *noticed* of each source over time.

    A source that cannot be read makes the whole degraded, all of them make it unhealthy. Figures are sums, and
    `None` where a part is unknown; when every source is too old, the last figures are kept.
    """
    seen = noticed or {}
    sources = {each.name: _assess_source(each, settings, now, seen.get(each.name) or Noticed()) for each in readings}
    if not sources:
        return _assessment(SystemStatus.DEGRADED, [StatusReason.NO_SOURCE], [], sources)
    unhealthy = [report.status is SystemStatus.UNHEALTHY for report in sources.values()]
    status = worst(report.status for report in sources.values())
    if status is SystemStatus.UNHEALTHY and not all(unhealthy):
        status = SystemStatus.DEGRADED
    reasons = [reason for reason in StatusReason if any(reason in report.reasons for report in sources.values())]
    unknown = any(unhealthy) and not all(unhealthy)
    usable = [
        None if unknown and report.status is SystemStatus.UNHEALTHY else reading.facts
        for reading, report in zip(readings, sources.values(), strict=True)
    ]
    return _assessment(status, reasons, usable, sources)


def _assessment(
    status: SystemStatus,
    reasons: list[StatusReason],
    facts: Sequence[Facts | None],
    sources: dict[str, SourceReport],
) -> Assessment:
    return Assessment(
        status=status,
        reasons=reasons,
        system_health=_system_health(status, facts),
        performance_metrics=_performance(facts),
        database=_fullest(part.connections for part in facts if part is not None),
        sources=sources,
    )


def _assess_source(reading: Reading, settings: HealthSettings, now: float, noticed: Noticed) -> SourceReport:
    facts = reading.facts
    if facts is None:
        status, reasons = SystemStatus.UNHEALTHY, [StatusReason.SOURCE_UNREADABLE]
    else:
        reasons = _degraded_because(facts, settings)
        if noticed.stands:
            reasons.append(StatusReason.NO_PROGRESS)
        if reading.fault is not None:
            reasons.insert(0, StatusReason.SOURCE_UNREADABLE)
        status = SystemStatus.DEGRADED if reasons else SystemStatus.HEALTHY
        if reading.age_seconds > settings.status_max_stale_seconds:
            status = SystemStatus.UNHEALTHY
            reasons.insert(reading.fault is not None, StatusReason.FACTS_STALE)
    return SourceReport(
        status=status,
        timestamp=timestamp(now if facts is None else reading.read_at),
        reasons=reasons,
        system_health=_system_health(status, [facts]),
        performance_metrics=_performance([facts]),
        reason=UNSET if reading.fault is None else reading.fault,
        blame=noticed.blame or UNSET,
        **_more(facts, settings.metrics_window_seconds),
    )


def _more(facts: Facts | None, window_seconds: float) -> dict[str, Any]:
    """Return those figures that not every source has."""
    if facts is None:
        return {}
    names = ("tasks_by_state", "steps_by_state", "oldest_pending_seconds", "groups", "method", "drift", "causes")
    more = {name: value for name in names if (value := getattr(facts, name)) is not None}
    if facts.flow is not None:
        more["flow"] = flow_report(facts.flow, window_seconds)
    if facts.queues is not None:
        more["queues"] = queue_reports(facts.queues, window_seconds)
    return more


def _degraded_because(facts: Facts, settings: HealthSettings) -> list[StatusReason]:
    """Return every reason of *facts* themselves; a figure that is `None` is no reason."""
    reasons = []
    settled, failed = _settled(facts), facts.window_failed or 0
    if (
        settled
        and settled >= settings.degraded_min_settled_tasks
        and failed > settings.degraded_failure_ratio * settled
    ):
        reasons.append(StatusReason.FAILURE_RATIO)
    if (facts.blocked or 0) >= settings.degraded_blocked_tasks:
        reasons.append(StatusReason.BLOCKED_TASKS)
    if facts.stuck:
        reasons.append(StatusReason.STUCK_TASKS)
    if (facts.connections.connection_ratio or 0) > settings.degraded_connection_ratio:
        reasons.append(StatusReason.CONNECTIONS)
    return reasons


def _system_health(status: SystemStatus, facts: Sequence[Facts | None]) -> SystemHealth:
    return SystemHealth(
        overall_status=status,
        total_tasks=_sum(facts, "total"),
        pending_tasks=_sum(facts, "pending"),
        running_tasks=_sum(facts, "running"),
        completed_tasks=_sum(facts, "completed"),
        failed_tasks=_sum(facts, "failed"),
        cancelled_tasks=_sum(facts, "cancelled"),
        other_tasks=_sum(facts, "other"),
        blocked_tasks=_sum(facts, "blocked"),
        stuck_tasks=_sum(facts, "stuck"),
        retry_queue_size=_sum(facts, "retry_queue"),
        in_backoff=_sum(facts, "in_backoff"),
    )


def _performance(facts: Sequence[Facts | None]) -> PerformanceMetrics:
    settled, failed = (
        _sum_of([None if part is None else _settled(part) for part in facts]),
        _sum(facts, "window_failed"),
    )
    return PerformanceMetrics(
        avg_task_completion_time_ms=_average(facts, "task_time"),
        avg_step_completion_time_ms=_average(facts, "step_time"),
        retry_success_rate=_ratio(_sum(facts, "retries_succeeded"), _sum(facts, "retries_settled")),
        failure_ratio=_ratio(failed, settled),
        settled_tasks=settled,
    )


def _settled(facts: Facts) -> int | None:
    return _sum_of([facts.window_completed, facts.window_failed])


def _sum(facts: Sequence[Facts | None], name: str) -> int | None:
    return _sum_of([None if part is None else getattr(part, name) for part in facts])


def _sum_of(parts: Sequence[int | None]) -> int | None:
    """Return the sum of *parts*; `None` when there is none, or when one is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _average(facts: Sequence[Facts | None], name: str) -> int | None:
    durations: list[Durations | None] = [None if part is None else getattr(part, name) for part in facts]
    known = [duration for duration in durations if duration is not None]
    count = sum(duration.count for duration in known)
    if not count or len(known) != len(durations):
        return None
    return round(sum(duration.total_ms for duration in known) / count)


def _ratio(part: int | None, whole: int | None) -> float | None:
    return round(part / whole, 4) if part is not None and whole else None


def _fullest(connections: Iterable[Connections]) -> Connections:
    """Return the connections of the server that is nearest to its limit."""
    known: list[Any] = [each for each in connections if each.connection_ratio is not None]
    return max(known, key=lambda each: each.connection_ratio, default=Connections())
