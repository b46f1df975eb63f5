"""The room of history: how the last hour was, in slots of equal length, for people who look at it.

What is told here is for charts. It decides nothing: no probe, no status and no alert reads it.

* Every series is a list with one place for each slot, the oldest first; a slot that nobody has seen is `None`.
* Figures of tasks are the fleet's, those of checks the worst that any process has told within the slot.
* It is bounded: one hour, so many slots, so many checks and states as the settings name.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tasker_health.model import CheckStatus, SystemStatus

WINDOW_SECONDS = 3600


class CheckHistory(Struct, frozen=True, kw_only=True):
    """How one check was.

    Attributes:
        status: The worst of each slot.
        response_time_ms: The longest of each slot.
    """

    status: list[CheckStatus | None]
    response_time_ms: list[int | None]


class History(Struct, frozen=True, kw_only=True):
    """How the last hour was.

    Attributes:
        timestamp: When the last slot, which is under way, ends.
        slot_seconds: Length of each slot.
        is_shared: Whether a cache keeps it for the whole fleet; if not, it is what this process has seen.
        replicas: How many processes have told something within the hour.
        status: The worst status of each slot.
        tasks: Figures at the end of each slot, by their names in the contract without `_tasks` (`pending`, `running`,
            `completed`, `failed`, `cancelled`, `other`, `blocked`, `stuck`, `retry_queue`).
        completed_per_minute, failed_per_minute: How many tasks ended within the slot, a minute; `None` where it cannot
            be known, as when rows were deleted.
        failure_ratio: The status' own figure at the end of each slot.
        checks: By name.
    """

    timestamp: datetime
    slot_seconds: int
    is_shared: bool
    replicas: int
    status: list[SystemStatus | None]
    tasks: dict[str, list[int | None]]
    completed_per_minute: list[float | None]
    failed_per_minute: list[float | None]
    failure_ratio: list[float | None]
    checks: dict[str, CheckHistory]
