"""All alerts of a service, in the order in which they stand in its rules."""

from __future__ import annotations

from tasker_health.deploy.rules import AlertRule, Windows
from tasker_health.deploy.rules.facts import deliveries, facts
from tasker_health.deploy.rules.objectives import objectives
from tasker_health.deploy.rules.replicas import answers, replicas
from tasker_health.deploy.rules.tasks import failures, work
from tasker_health.deploy.rules.workers import workers
from tasker_health.settings import HealthSettings


def alert_rules(health: HealthSettings, windows: Windows, job: str, by: str) -> tuple[AlertRule, ...]:
    """Return all alerts of a service.

    Args:
        health: Its thresholds.
        windows: See `windows_of`.
        job: Selector of its series, such as `job="orders"`.
        by: Labels that tell one fleet from another.
    """
    return (
        *failures(health, windows, job),
        *work(health, job, by),
        *workers(job, by),
        *objectives(job, by),
        *replicas(job, by),
        *answers(windows, job, by),
        *facts(health, job, by),
        *deliveries(windows, job, by),
    )
