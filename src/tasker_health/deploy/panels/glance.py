"""What is asked first: how is it, and what is wrong?"""

from __future__ import annotations

from tasker_health.deploy.panels import FLEET, Panel, Threshold, fleet


def _stat(
    title: str, description: str, unit: str, expression: str, warning: Threshold | None = None, *, below: bool = False
) -> Panel:
    return Panel(title, description, unit, (("", expression),), "stat", 3, warning, below)


GLANCE: tuple[Panel, ...] = (
    Panel(
        "Status",
        "How the whole system is.",
        "none",
        (("{{status}}", f"{fleet('tasker_health_status', 'status')} == 1"),),
        "stat",
        3,
    ),
    _stat(
        "Replicas ready",
        "Of the replicas that are to be scraped, those that should get traffic.",
        "percentunit",
        f"(sum(tasker_health_ready{{{FLEET}}}) or vector(0)) / count(up{{{FLEET}}})",
        1,
        below=True,
    ),
    _stat(
        "Failing now",
        "Of the tasks settled within the window, the share that failed.",
        "percentunit",
        fleet("tasker_health_failure_ratio"),
        "degraded_failure_ratio",
    ),
    _stat("Blocked", "Tasks that cannot move by themselves.", "short", fleet("tasker_health_blocked_tasks"), 1),
    _stat(
        "Stuck",
        "Running tasks without a change for `health.stuck_after_seconds`.",
        "short",
        fleet("tasker_health_stuck_tasks"),
        1,
    ),
    _stat(
        "Oldest pending",
        "How long the oldest task has been waiting; nothing while none does.",
        "s",
        fleet("tasker_health_oldest_pending_seconds"),
    ),
    _stat(
        "Retry queue",
        "Failed steps that will be tried again.",
        "short",
        fleet("tasker_health_retry_queue_steps"),
    ),
    _stat(
        "Age of facts",
        "How old the facts of the status are.",
        "s",
        fleet("tasker_health_status_age_seconds"),
        "status_max_stale_seconds",
    ),
    Panel(
        "Alerts",
        "What fires, or is about to.",
        "none",
        (("", f"max by (alertname, severity, alertstate, instance, check, source, to) (ALERTS{{{FLEET}}})"),),
        "table",
        12,
    ),
    Panel(
        "Why it is not healthy",
        "Each reason while it holds.",
        "none",
        (("{{reason}}", f"{fleet('tasker_health_status_reason', 'reason')} == 1"),),
        width=12,
    ),
)
"""One figure each, and what fires."""
