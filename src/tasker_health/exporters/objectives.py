"""The figures of objectives: how fast the failures that are borne are used up."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from tasker_health.exporters.instrument import Instrument
from tasker_health.model import StatusReport
from tasker_health.work import Urgency


def figures(report: StatusReport) -> Iterator[Instrument]:
    """Yield what *report* says of objectives; nothing where there is none."""
    if report.slos is UNSET:
        return
    slos = report.slos.items()
    yield Instrument(
        "tasker_health_slo_objective_ratio",
        "gauge",
        "Share of the work that is to end well.",
        ("slo",),
        [((name,), slo.objective) for name, slo in slos],
    )
    yield Instrument(
        "tasker_health_slo_burn_rate",
        "gauge",
        "How fast the failures that are borne are used up; 1 uses them up at the end of the period.",
        ("slo", "window"),
        [((name, window), rate) for name, slo in slos for window, rate in slo.burn_rates.items() if rate is not None],
    )
    yield Instrument(
        "tasker_health_slo_budget_left_ratio",
        "gauge",
        "Share of the failures borne in the whole period that is left.",
        ("slo",),
        [((name,), slo.budget_left) for name, slo in slos if slo.budget_left is not None],
    )
    yield Instrument(
        "tasker_health_slo_firing",
        "gauge",
        "1 while the objective is used up so fast that somebody is to know.",
        ("slo", "severity"),
        [((name, severity), slo.firing == severity) for name, slo in slos for severity in Urgency],
    )
