"""Tasks that fail, and work that stands still."""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.rules import AlertRule, Windows, duration
from tasker_health.settings import HealthSettings

GUIDE_RATIO = 0.05
"""Of the original's guide: more than 5 % of all tasks ever have failed."""

_FAST, _SLOW = 14.4, 6
"""Burn rates that page, over one window and over six of 720: 2 % and 5 % of a month's failures that are borne, where
the window is an hour (Google's SRE workbook, chapter "Alerting on SLOs", table 5-8)."""

_MOST_BURNT = 0.9
"""A burn of 14.4 times 10 % would be more failures than there are tasks, and never come."""


def failures(health: HealthSettings, windows: Windows, job: str) -> Iterator[AlertRule]:
    """Yield the alerts about tasks that fail: of all, by window, and by how fast they burn what is borne."""
    borne, least = health.degraded_failure_ratio, health.degraded_min_settled_tasks
    enough = f"job:tasker_health_settled_tasks:max{{{job}}} >= {least}"
    yield AlertRule(
        "TaskerHealthFailedTasks",
        "warning",
        f"job:tasker_health_failed_tasks:ratio{{{job}}} > {GUIDE_RATIO:g}",
        300,
        "Tasker failure rate exceeded 5%",
        "{{ $value | humanizePercentage }} of all tasks that {{ $labels.job }} knows have failed.",
    )
    yield AlertRule(
        "TaskerHealthFailureRatio",
        "warning",
        f"job:tasker_health_failure_ratio:max{{{job}}} > {borne:g}\n  and {enough}",
        120,
        "Too many tasks fail",
        f"{{{{ $value | humanizePercentage }}}} of the tasks of {{{{ $labels.job }}}} that were settled within"
        f" {windows.long} have failed; {100 * borne:.4g}% is borne.",
    )
    for name, factor, long, short, length in (
        ("Fast", _FAST, "max", "short", windows.long),
        ("Slow", _SLOW, "sixfold", "half", f"six times {windows.long}"),
    ):
        threshold = burnt(borne, factor)
        yield AlertRule(
            f"TaskerHealthFailureBurn{name}",
            "critical",
            f"job:tasker_health_failure_ratio:{long}{{{job}}} > {threshold:.4g}\n"
            f"  and job:tasker_health_failure_ratio:{short}{{{job}}} > {threshold:.4g}\n"
            f"  and {enough}",
            0,
            "Tasks fail so often that what is borne is soon used up",
            f"{{{{ $value | humanizePercentage }}}} of the tasks of {{{{ $labels.job }}}} failed over {length}, and"
            f" they still do; {100 * borne:.4g}% is borne.",
        )


def burnt(borne: float, factor: float) -> float:
    """Return the share of failures that burns *factor* times what is *borne*, or as much as there can be."""
    return max(borne, min(factor * borne, _MOST_BURNT))


def work(health: HealthSettings, job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about tasks and steps that do not go on."""
    yield AlertRule(
        "TaskerHealthTasksStuck",
        "warning",
        f"max by ({by}) (tasker_health_stuck_tasks{{{job}}}) > 0",
        300,
        "Running tasks do not go on",
        f"{{{{ $value }}}} running tasks of {{{{ $labels.job }}}} have not changed for"
        f" {duration(round(health.stuck_after_seconds))}.",
    )
    yield AlertRule(
        "TaskerHealthTasksBlocked",
        "warning",
        f"max by ({by}) (tasker_health_blocked_tasks{{{job}}}) >= {health.degraded_blocked_tasks}",
        300,
        "Tasks cannot move by themselves",
        "{{ $value }} tasks of {{ $labels.job }} wait for something that will not come.",
    )
    yield AlertRule(
        "TaskerHealthRetriesExhausted",
        "warning",
        f"max by ({by}) (tasker_health_retry_success_ratio{{{job}}}) < 1",
        0,
        "Steps have failed for good after their retries",
        "Only {{ $value | humanizePercentage }} of the steps of {{ $labels.job }} that were tried again and settled"
        f" within {duration(max(1, round(health.metrics_window_seconds)))} have succeeded.",
    )
    yield AlertRule(
        "TaskerHealthConnections",
        "warning",
        f"max by ({by}) (tasker_health_database_connections{{{job}}})\n"
        f"  / max by ({by}) (tasker_health_database_connections_maximum{{{job}}})"
        f" > {health.degraded_connection_ratio:g}",
        300,
        "The database server has few connections left",
        "{{ $value | humanizePercentage }} of the connections that it allows are open.",
    )
