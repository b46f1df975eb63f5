"""What a source knows, as a test says it."""

from __future__ import annotations

from msgspec.structs import replace

from tasker_health.model import Connections, Durations, Facts

_HEALTHY = Facts(
    pending=45,
    running=12,
    completed=1180,
    failed=13,
    cancelled=0,
    other=0,
    blocked=0,
    stuck=0,
    retry_queue=3,
    in_backoff=1,
    task_time=Durations(10, 23_400),
    step_time=Durations(10, 4_500),
    window_completed=100,
    window_failed=1,
    retries_settled=100,
    retries_succeeded=87,
    connections=Connections(active_connections=5, maximum_connections=100, connection_ratio=0.05),
)


def facts_of(**changes: object) -> Facts:
    """Return the facts of a healthy engine with *changes*, such as `facts_of(blocked=3)`; see `Facts` for the names.

    Raises:
        TypeError: There is no fact of that name.
    """
    return replace(_HEALTHY, **changes)
