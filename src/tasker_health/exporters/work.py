"""The figures of work beyond its states: what stands still for which cause, and how work flows, by source."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import UNSET

from tasker_health.exporters.instrument import Instrument, Points
from tasker_health.model import StatusReport
from tasker_health.work import FlowReport


def figures(report: StatusReport) -> Iterator[Instrument]:
    """Yield what *report* says of it; nothing of sources that cannot know."""
    yield Instrument(
        "tasker_health_source_stuck_tasks",
        "gauge",
        "Tasks that stand still, by cause; a cause that the source cannot see is not there.",
        ("source", "cause"),
        [
            ((name, cause), number)
            for name, source in report.sources.items()
            if source.causes is not UNSET
            for cause, number in source.causes.items()
        ],
    )
    for name, help_text, figure in _FLOW:
        yield Instrument(name, "gauge", help_text, ("source",), _points(report, figure))


_FLOW: tuple[tuple[str, str, Callable[[FlowReport], float | None]], ...] = (
    (
        "tasker_health_source_ready_tasks",
        "Tasks that a worker could take now, and none has.",
        lambda flow: flow.ready_tasks,
    ),
    (
        "tasker_health_source_oldest_ready_seconds",
        "How long the oldest of those has been ready.",
        lambda flow: flow.oldest_ready_seconds,
    ),
    (
        "tasker_health_source_arrivals_per_minute",
        "Tasks accepted, over the window.",
        lambda flow: flow.arrivals_per_minute,
    ),
    (
        "tasker_health_source_completions_per_minute",
        "Tasks ended in whatever way, over the window.",
        lambda flow: flow.completions_per_minute,
    ),
    (
        "tasker_health_source_drain_seconds",
        "In how long no ready task is left, if it goes on so; not there where it never will be.",
        lambda flow: flow.seconds_to_drain,
    ),
)


def _points(report: StatusReport, figure: Callable[[FlowReport], float | None]) -> Points:
    points: Points = []
    for name, source in report.sources.items():
        if source.flow is not UNSET and (value := figure(source.flow)) is not None:
            points.append(((name,), value))
    return points
