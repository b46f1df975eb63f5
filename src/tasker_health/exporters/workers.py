"""The figures of workers: how many live, stall and are dead, by engine."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from tasker_health.exporters.instrument import Instrument
from tasker_health.model import StatusReport
from tasker_health.workers import WorkerState


def figures(report: StatusReport) -> Iterator[Instrument]:
    """Yield what *report* says of workers; nothing where nobody reads heartbeats, or they cannot be read now."""
    if report.workers is UNSET or report.workers is None:
        return
    yield Instrument(
        "tasker_health_workers",
        "gauge",
        "Workers by their heartbeats.",
        ("engine", "state"),
        [
            ((engine, state), getattr(counts, state))
            for engine, counts in report.workers.by_engine.items()
            for state in WorkerState
        ],
    )
