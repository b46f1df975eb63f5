"""Which alerts Prometheus is told of: for each a condition, how long it holds first, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasker_health.settings import HealthSettings

GUIDE_RATIO = 0.05
"""Of the original's guide: more than 5 % of all tasks ever have failed."""

SLOW_SECONDS = 0.2
"""Of the original's guide: answers that take longer than 200 ms are worth a look."""

_FAST, _SLOW = 14.4, 6
"""Burn rates that page, over one window and over six of 720: 2 % and 5 % of a month's failures that are borne, where
the window is an hour (Google's SRE workbook, chapter "Alerting on SLOs", table 5-8)."""

_MOST_BURNT = 0.9
"""A burn of 14.4 times 10 % would be more failures than there are tasks, and never come."""

_RATE_SECONDS = 300

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Windows:
    """Lengths over which failures are looked at; all of them follow the window of the status.

    Attributes:
        long_seconds: The window itself: an hour.
        half_seconds: Half of it: 30 minutes.
        short_seconds: A twelfth: 5 minutes, and never less than a few scrapes.
        fivefold_seconds: Five of it; with what the window holds, six.
        rate_seconds: Over which counters of a process are looked at: 5 minutes at most, unless they are few scrapes.
    """

    long_seconds: int
    half_seconds: int
    short_seconds: int
    fivefold_seconds: int
    rate_seconds: int

    @property
    def long(self) -> str:
        """The window itself, as Prometheus reads it."""
        return duration(self.long_seconds)

    @property
    def half(self) -> str:
        """Half of it."""
        return duration(self.half_seconds)

    @property
    def short(self) -> str:
        """A twelfth of it."""
        return duration(self.short_seconds)

    @property
    def fivefold(self) -> str:
        """Five of it."""
        return duration(self.fivefold_seconds)

    @property
    def rate(self) -> str:
        """Over which counters are looked at."""
        return duration(self.rate_seconds)


def windows_of(health: HealthSettings, interval_seconds: int) -> Windows:
    """Return the windows of a service with *health*, scraped every *interval_seconds*."""
    window = health.metrics_window_seconds
    least = 4 * interval_seconds + math.ceil(health.cache_duration_seconds)
    short = max(math.ceil(window / 12), least)
    return Windows(
        long_seconds=max(1, round(window)),
        half_seconds=max(math.ceil(window / 2), short),
        short_seconds=short,
        fivefold_seconds=max(math.ceil(5 * window), short),
        rate_seconds=max(min(_RATE_SECONDS, math.ceil(window)), 4 * interval_seconds),
    )


@dataclass(frozen=True)
class AlertRule:
    """One alert.

    Attributes:
        name: Of the alert, and of its heading on the page that says what to do.
        severity: `critical` wakes somebody, `warning` is read in the morning.
        expression: PromQL; what it answers is what is wrong.
        for_seconds: So long it holds before anybody is told.
        summary, description: One sentence each; `{{ $value }}` is what the expression answered.
    """

    name: str
    severity: Severity
    expression: str
    for_seconds: int
    summary: str
    description: str

    @property
    def patience(self) -> str:
        """How long it holds before it fires, as Prometheus reads it."""
        return duration(self.for_seconds)


def alert_rules(health: HealthSettings, windows: Windows, job: str, by: str) -> tuple[AlertRule, ...]:
    """Return all alerts of a service.

    Args:
        health: Its thresholds.
        windows: See `windows_of`.
        job: Selector of its series, such as `job="orders"`.
        by: Labels that tell one fleet from another.
    """
    return (
        *_failures(health, windows, job),
        *_work(health, job, by),
        *_replicas(job, by),
        *_answers(windows, job, by),
        *_facts(health, job, by),
        *_deliveries(windows, job, by),
    )


def _failures(health: HealthSettings, windows: Windows, job: str) -> Iterator[AlertRule]:
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


def _work(health: HealthSettings, job: str, by: str) -> Iterator[AlertRule]:
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


def _replicas(job: str, by: str) -> Iterator[AlertRule]:
    yield AlertRule(
        "TaskerHealthAbsent",
        "critical",
        f"absent(tasker_health_ready{{{job}}})",
        120,
        "Nobody tells how the service is",
        "No replica of {{ $labels.job }} is scraped, so no other alert can fire.",
    )
    yield AlertRule(
        "TaskerHealthTargetDown",
        "warning",
        f"up{{{job}}} == 0",
        120,
        "A replica cannot be scraped",
        "{{ $labels.instance }} of {{ $labels.job }} does not answer Prometheus.",
    )
    yield AlertRule(
        "TaskerHealthFewReady",
        "critical",
        f"job:tasker_health_ready:ratio{{{job}}} < 0.5",
        120,
        "Fewer than half of the replicas are ready",
        "{{ $value | humanizePercentage }} of the replicas of {{ $labels.job }} are ready.",
    )
    yield AlertRule(
        "TaskerHealthNotReady",
        "warning",
        f"tasker_health_ready{{{job}}} == 0",
        120,
        "A replica is not ready",
        "{{ $labels.instance }} of {{ $labels.job }} gets no traffic: see failed_checks at /ready.",
    )
    for name, condition, summary in (
        ("TaskerHealthCheckFailing", 'state=~"error|unknown"', "A check fails"),
        ("TaskerHealthConfiguration", 'check="configuration", state="degraded"', "The configuration wants a look"),
    ):
        yield AlertRule(
            name,
            "warning",
            f"max by ({by}, check) (tasker_health_check_state{{{job}, {condition}}}) == 1",
            300,
            summary,
            "The check {{ $labels.check }} of {{ $labels.job }}, of at least one replica.",
        )


def _answers(windows: Windows, job: str, by: str) -> Iterator[AlertRule]:
    yield AlertRule(
        "TaskerHealthSlowChecks",
        "warning",
        f"job:tasker_health_check_duration_seconds:p95{{{job}}} > {SLOW_SECONDS:g}",
        600,
        "A check takes longer than 200 ms",
        "One run in twenty of {{ $labels.check }} takes longer than {{ $value | humanizeDuration }}.",
    )
    yield AlertRule(
        "TaskerHealthSlowReadings",
        "warning",
        f"job:tasker_health_source_read_duration_seconds:p95{{{job}}} > {SLOW_SECONDS:g}",
        600,
        "The facts of a source take longer than 200 ms to read",
        "One reading in twenty of {{ $labels.source }} takes longer than {{ $value | humanizeDuration }}.",
    )
    yield AlertRule(
        "TaskerHealthSlowAnswers",
        "warning",
        f"avg_over_time(scrape_duration_seconds{{{job}}}[{windows.rate}]) > {SLOW_SECONDS:g}\n  and up{{{job}}} == 1",
        600,
        "Answers take longer than 200 ms",
        "{{ $labels.instance }} took {{ $value | humanizeDuration }} for its status and its metrics, on average.",
    )
    yield AlertRule(
        "TaskerHealthEventLoopStalls",
        "warning",
        f"sum by ({by}) (increase(tasker_health_event_loop_stalls_total{{{job}}}[{windows.rate}])) > 0",
        0,
        "An event loop stands still",
        f"{{{{ $value | humanize }}}} times within {windows.rate}: something blocks it that should be in a thread.",
    )
    yield AlertRule(
        "TaskerHealthGuardRestarts",
        "warning",
        f"sum by ({by}) (increase(tasker_health_guard_restarts_total{{{job}}}[{windows.rate}])) > 0",
        0,
        "A guard ended and was started again",
        f"{{{{ $value | humanize }}}} times within {windows.rate}: look for its end in the log.",
    )


def _facts(health: HealthSettings, job: str, by: str) -> Iterator[AlertRule]:
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


def _deliveries(windows: Windows, job: str, by: str) -> Iterator[AlertRule]:
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


def duration(seconds: int) -> str:
    """Return whole *seconds* as Prometheus reads them, in the largest unit that fits: `5m`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
