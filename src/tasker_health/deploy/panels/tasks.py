"""Work, as the engines know it: figures of the fleet."""

from __future__ import annotations

from tasker_health.deploy.panels import FLEET, Panel, fleet

_TASKS = "tasker_health_tasks"

TASKS: tuple[Panel, ...] = (
    Panel(
        "Tasks by state",
        "Every task known. A queue that only grows has too few workers.",
        "short",
        (("{{state}}", fleet("tasker_health_tasks", "state")),),
    ),
    Panel(
        "Failure ratio",
        "Within the window, and of all tasks ever, as the guide has it.",
        "percentunit",
        (
            ("within the window", fleet("tasker_health_failure_ratio")),
            (
                "of all",
                f"max({_TASKS}{{{FLEET}, state='failed'}}) / (sum({fleet(_TASKS, 'state')}) > 0)",
            ),
        ),
        warning="degraded_failure_ratio",
    ),
    Panel(
        "Settled tasks",
        "Completed or failed within the window: few say little about the ratio.",
        "short",
        (("settled", fleet("tasker_health_settled_tasks")),),
    ),
    Panel(
        "Durations",
        "Averages within the window: of a task from creation to completion, of a step its execution alone.",
        "s",
        (
            ("task", fleet("tasker_health_task_completion_seconds")),
            ("step", fleet("tasker_health_step_completion_seconds")),
        ),
    ),
    Panel(
        "Retries",
        "Failed steps that will be tried again, and those of them that are not due yet.",
        "short",
        (
            ("to be tried again", fleet("tasker_health_retry_queue_steps")),
            ("not due yet", fleet("tasker_health_in_backoff_steps")),
        ),
    ),
    Panel(
        "Retries that succeed",
        "Of the steps that had failed before and settled within the window. Below 100 % some have failed for good.",
        "percentunit",
        (("succeeded", fleet("tasker_health_retry_success_ratio")),),
        warning=1,
        is_worse_below=True,
    ),
    Panel(
        "Standing still",
        "Tasks that cannot move, and tasks that do not.",
        "short",
        (
            ("blocked", fleet("tasker_health_blocked_tasks")),
            ("stuck", fleet("tasker_health_stuck_tasks")),
        ),
        warning=1,
    ),
    Panel(
        "Oldest pending task",
        "How long it has been waiting, by source.",
        "s",
        (("{{source}}", fleet("tasker_health_source_oldest_pending_seconds", "source")),),
    ),
    Panel(
        "Steps by state",
        "By the engine's own states, where it tells.",
        "short",
        (("{{source}} {{state}}", fleet("tasker_health_source_steps", "source", "state")),),
    ),
    Panel(
        "Tasks by source",
        "Of each source and state.",
        "short",
        (("{{source}} {{state}}", fleet("tasker_health_source_tasks", "source", "state")),),
        width=12,
    ),
    Panel(
        "Failed tasks by group",
        "By namespace or name, where the settings ask for it.",
        "short",
        (
            (
                "{{source}} {{group}}",
                f'max by (source, group) (tasker_health_source_group_tasks{{{FLEET}, state="failed"}})',
            ),
        ),
        width=12,
    ),
)
"""Work, as the engines know it."""
