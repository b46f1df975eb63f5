"""How work has ended, in the order and within the bounds in which it is told."""

from __future__ import annotations

from collections.abc import Iterable

from tasker_health.work import MOST_OUTCOMES, Outcome


def outcomes_of(found: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return them by minute, the worst and largest first, and what is too many of a minute as `other`."""
    minutes: dict[int, list[Outcome]] = {}
    for outcome in found:
        minutes.setdefault(outcome.minute, []).append(outcome)
    told = []
    for minute, several in sorted(minutes.items()):
        several.sort(
            key=lambda each: (-each.failed, -each.completed, each.handler or "", each.queue or "", each.version or "")
        )
        told += several[:MOST_OUTCOMES]
        rest = several[MOST_OUTCOMES:]
        if rest:
            completed, failed = sum(each.completed for each in rest), sum(each.failed for each in rest)
            told.append(Outcome(minute, "other", None, None, completed, failed))
    return tuple(told)
