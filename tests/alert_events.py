"""Events of alerts, as tests send them."""

from __future__ import annotations

import itertools

from tasker_health.alerts import Action, Event, Severity
from tasker_health.alerts.pending import Pending

AT = 1_782_000_000.25

_ids = itertools.count(1)


def event_of(action: str = "trigger", rule: str = "status", **values) -> Event:
    """Return an event with an id of its own, of the incident of *rule*."""
    defaults = {
        "id": f"event-{next(_ids)}",
        "action": Action(action),
        "dedup_key": f"tasker-health/orders/{rule}",
        "rule": rule,
        "severity": Severity.CRITICAL,
        "summary": "The status is unhealthy",
        "details": {"failed_tasks": 3, "total_tasks": 40},
        "service": "orders",
        "at": AT,
        "since": AT - 60,
        "links": ("https://runbooks.example/orders",),
    }
    return Event(**{**defaults, **values})


def pending_of(action: str = "trigger", rule: str = "status", *, attempts: int = 0, first_at: float = 0.0) -> Pending:
    """Return a new event that waits since *first_at*."""
    return Pending(event=event_of(action, rule), attempts=attempts, first_at=first_at)
