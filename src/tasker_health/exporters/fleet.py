"""The figures of the status: of the whole fleet, the same whichever process tells them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import UNSET

from tasker_health.exporters.instrument import Instrument, Points, gauge, states
from tasker_health.model import CountingMethod, SourceReport, StatusReason, StatusReport, SystemHealth, SystemStatus

_STATES = ("pending", "running", "completed", "failed", "cancelled", "other")
_MS_PER_SECOND = 1000


def figures(report: StatusReport) -> Iterator[Instrument]:
    """Yield what *report* says."""
    yield from _judgement(report)
    yield from _tasks(report)
    yield from _window(report)
    yield from _age(report)
    yield from _sources(report)


def figures_of_the_guide(report: StatusReport) -> Iterator[Instrument]:
    """Yield those that the original's guide names, under its names and in its units."""
    health, performance = report.system_health, report.performance_metrics
    yield gauge("tasker_total_tasks", "Every task known.", health.total_tasks)
    yield gauge("tasker_pending_tasks", "Tasks accepted and not started.", health.pending_tasks)
    yield gauge("tasker_failed_tasks", "Tasks that ended in error.", health.failed_tasks)
    yield gauge(
        "tasker_avg_completion_time",
        "Average time from a task's creation to its completion within the window, in thousandths of a second.",
        performance.avg_task_completion_time_ms,
    )


def _judgement(report: StatusReport) -> Iterator[Instrument]:
    yield states("tasker_health_status", "1 for how the whole system is.", "status", SystemStatus, [report.status])
    yield states("tasker_health_status_reason", "1 for why it is not healthy.", "reason", StatusReason, report.reasons)


def _tasks(report: StatusReport) -> Iterator[Instrument]:
    health, database = report.system_health, report.database
    yield Instrument("tasker_health_tasks", "gauge", "Tasks by state.", ("state",), _by_state(health))
    yield gauge("tasker_health_blocked_tasks", "Tasks that cannot move by themselves.", health.blocked_tasks)
    yield gauge("tasker_health_stuck_tasks", "Running tasks without a recent change.", health.stuck_tasks)
    yield gauge("tasker_health_retry_queue_steps", "Failed steps that will be tried again.", health.retry_queue_size)
    yield gauge(
        "tasker_health_in_backoff_steps",
        "Steps of the retry queue that are not due yet.",
        health.in_backoff,
    )
    yield gauge("tasker_health_database_connections", "Open connections of the server.", database.active_connections)
    yield gauge(
        "tasker_health_database_connections_maximum", "Connections that it allows.", database.maximum_connections
    )


def _window(report: StatusReport) -> Iterator[Instrument]:
    performance = report.performance_metrics
    yield gauge(
        "tasker_health_task_completion_seconds",
        "Average time from a task's creation to its completion within the window.",
        _seconds(performance.avg_task_completion_time_ms),
    )
    yield gauge(
        "tasker_health_step_completion_seconds",
        "Average execution time of a step completed within the window.",
        _seconds(performance.avg_step_completion_time_ms),
    )
    yield gauge(
        "tasker_health_retry_success_ratio",
        "Of the steps that had failed before and settled within the window, those that succeeded.",
        performance.retry_success_rate,
    )
    yield gauge(
        "tasker_health_failure_ratio",
        "Of the tasks settled within the window, those failed.",
        performance.failure_ratio,
    )
    yield gauge("tasker_health_settled_tasks", "Tasks settled within the window.", performance.settled_tasks)
    yield gauge(
        "tasker_health_oldest_pending_seconds",
        "How long the oldest pending task of all sources has been waiting; not told while none is pending.",
        _oldest(report.sources.values()),
    )


def _age(report: StatusReport) -> Iterator[Instrument]:
    if any(map(_known, report.sources.values())):
        yield gauge(
            "tasker_health_status_age_seconds", "How old the facts of the status are.", report.cache_info.age_seconds
        )
        yield gauge(
            "tasker_health_status_timestamp_seconds",
            "When the facts of the status were read, since the epoch.",
            report.timestamp.timestamp(),
        )


def _sources(report: StatusReport) -> Iterator[Instrument]:
    reports = report.sources
    yield Instrument(
        "tasker_health_source_readable",
        "gauge",
        "1 when the latest attempt to read the source succeeded.",
        ("source",),
        [((name,), report.reason is UNSET) for name, report in reports.items()],
    )
    yield Instrument(
        "tasker_health_source_read_timestamp_seconds",
        "gauge",
        "When the facts of the source were read, since the epoch.",
        ("source",),
        [((name,), report.timestamp.timestamp()) for name, report in reports.items() if _known(report)],
    )
    yield Instrument(
        "tasker_health_source_tasks",
        "gauge",
        "Tasks of one source by state.",
        ("source", "state"),
        [((name, *labels), tasks) for name, each in reports.items() for labels, tasks in _by_state(each.system_health)],
    )
    yield from _more_of_sources(reports)


def _more_of_sources(reports: Mapping[str, SourceReport]) -> Iterator[Instrument]:
    """Yield what only some sources know."""
    yield Instrument(
        "tasker_health_source_steps",
        "gauge",
        "Steps of one source by the engine's own states.",
        ("source", "state"),
        [
            ((name, state), steps)
            for name, report in reports.items()
            if report.steps_by_state is not UNSET
            for state, steps in report.steps_by_state.items()
        ],
    )
    yield Instrument(
        "tasker_health_source_group_tasks",
        "gauge",
        "Tasks of one source by group and state, where the settings ask for it; the smallest groups are `other`.",
        ("source", "group", "state"),
        [
            ((name, group, state), tasks)
            for name, report in reports.items()
            if report.groups is not UNSET
            for group, states in report.groups.items()
            for state, tasks in states.items()
        ],
    )
    yield Instrument(
        "tasker_health_source_oldest_pending_seconds",
        "gauge",
        "How long the oldest pending task has been waiting.",
        ("source",),
        [
            ((name,), report.oldest_pending_seconds)
            for name, report in reports.items()
            if isinstance(report.oldest_pending_seconds, int)
        ],
    )
    yield Instrument(
        "tasker_health_source_drift",
        "gauge",
        "By how much the latest verification found the tally wrong; it must be 0.",
        ("source",),
        [((name,), report.drift) for name, report in reports.items() if report.drift is not UNSET],
    )
    yield Instrument(
        "tasker_health_source_counted_in_full",
        "gauge",
        "1 where everything is counted, because no tally can be kept.",
        ("source",),
        [
            ((name,), report.method is CountingMethod.FULL_COUNT)
            for name, report in reports.items()
            if report.method is not UNSET
        ],
    )


def _oldest(reports: Collection[SourceReport]) -> float | None:
    """Return how long the oldest task has been pending; `None` where none is, or where a source does not know."""
    ages = [each.oldest_pending_seconds for each in reports if each.system_health.pending_tasks != 0]
    known = [age for age in ages if isinstance(age, int)]
    return max(known) if known and len(known) == len(ages) else None


def _by_state(health: SystemHealth) -> Points:
    figures = ((state, getattr(health, f"{state}_tasks")) for state in _STATES)
    return [((state,), figure) for state, figure in figures if figure is not None]


def _known(report: SourceReport) -> bool:
    """Whether the source has ever been read."""
    return report.system_health.total_tasks is not None


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / _MS_PER_SECOND
