"""Facts that are old or wrong, and what is told unasked and does not arrive."""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.rules import AlertRule, Windows, duration
from tasker_health.settings import HealthSettings


def facts(health: HealthSettings, job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about what is old, wrong or cannot be read."""
    yield AlertRule(
        "TaskerHealthUnhealthy",
        "critical",
        f'max by ({by}) (tasker_health_status{{{job}, status="unhealthy"}}) == 1',
        120,
        "The status is unhealthy",
        "The facts about the tasks of {{ $labels.job }} cannot be read, or are too old.",
    )
    yield AlertRule(
        "TaskerHealthSourceUnreadable",
        "warning",
        f"max by ({by}, source) (tasker_health_source_readable{{{job}}}) == 0",
        120,
        "A source cannot be read",
        "No replica of {{ $labels.job }} can read {{ $labels.source }}.",
    )
    yield AlertRule(
        "TaskerHealthFactsStale",
        "warning",
        f"max by ({by}) (tasker_health_status_age_seconds{{{job}}}) > {health.status_max_stale_seconds:g}",
        60,
        "The facts are old",
        "A replica of {{ $labels.job }} tells facts that are {{ $value | humanizeDuration }} old;"
        f" {duration(max(1, round(health.status_max_stale_seconds)))} is borne.",
    )
    yield AlertRule(
        "TaskerHealthTallyDrift",
        "warning",
        f"max by ({by}, source) (abs(tasker_health_source_drift{{{job}}})) > 0",
        0,
        "A tally was wrong",
        "The tally of {{ $labels.source }} was found wrong by {{ $value }} and counted anew.",
    )


def deliveries(windows: Windows, job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about what does not reach whom it is for."""
    of_all = f"sum by ({by}, to) (increase(tasker_health_deliveries_total{{{job}"
    yield AlertRule(
        "TaskerHealthDeliveriesFailing",
        "warning",
        f'{of_all}, result!="sent"}}[{windows.rate}])) > 0\n  unless {of_all}, result="sent"}}[{windows.rate}])) > 0',
        300,
        "What is told unasked does not arrive",
        f"{{{{ $labels.to }}}} took nothing within {windows.rate}: see `tasker-health doctor exporters`.",
    )
    yield AlertRule(
        "TaskerHealthDeliveriesDropped",
        "warning",
        f"sum by ({by}, to, reason) (increase(tasker_health_deliveries_dropped_total{{{job}}}[{windows.rate}])) > 0",
        0,
        "Something that was to be told is lost",
        f"{{{{ $value | humanize }}}} for {{{{ $labels.to }}}} within {windows.rate}: {{{{ $labels.reason }}}}.",
    )
