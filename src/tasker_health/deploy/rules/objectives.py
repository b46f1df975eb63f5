"""Objectives that are used up too fast; which windows and thresholds that is, the service itself judges."""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.rules import AlertRule


def objectives(job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about objectives; none fires where none is set."""
    burning = "{{ $labels.slo }} of {{ $labels.job }} burns"
    yield AlertRule(
        "TaskerHealthErrorBudgetFast",
        "critical",
        f'max by ({by}, slo) (tasker_health_slo_firing{{{job}, severity="page"}}) == 1',
        0,
        "An objective is used up so fast that it will not last",
        f"{burning} its budget at a rate that pages: 2% within an hour, or 5% within six (of 30 days).",
    )
    yield AlertRule(
        "TaskerHealthErrorBudgetSlow",
        "warning",
        f'max by ({by}, slo) (tasker_health_slo_firing{{{job}, severity="ticket"}}) == 1',
        0,
        "An objective is used up faster than it is earned",
        f"{burning} 10% of its budget within three days (of 30).",
    )
