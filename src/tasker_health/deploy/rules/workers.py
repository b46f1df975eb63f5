"""Workers whose heartbeats have stopped, and those that take no work."""

from __future__ import annotations

from collections.abc import Iterator

from tasker_health.deploy.rules import AlertRule


def workers(job: str, by: str) -> Iterator[AlertRule]:
    """Yield the alerts about workers; none fires where nobody writes heartbeats.

    A dead worker that held work is a matter of the tasks: what nobody goes on with is blocked.
    """
    for state, name, patience, summary, words in (
        ("dead", "TaskerHealthWorkersDead", 60, "Workers are dead", "have stopped without a word"),
        ("stalled", "TaskerHealthWorkersStalled", 300, "Workers take no work", "take no work, though some waits"),
    ):
        yield AlertRule(
            name,
            "warning",
            f'max by ({by}, engine) (tasker_health_workers{{{job}, state="{state}"}}) > 0',
            patience,
            summary,
            f"{{{{ $value }}}} workers of {{{{ $labels.engine }}}} {words}: see `tasker-health workers`.",
        )
