"""Replicas that are away or not ready, and answers that are slow."""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.rules import SLOW_SECONDS, AlertRule, Windows


def replicas(job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about processes that are away, not ready or in trouble."""
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


def answers(windows: Windows, job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about what is slow, and what makes it so."""
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
