"""How the last hour is remembered."""

from __future__ import annotations

from pydantic import Field

from tasker_health.settings.kinds import Count, Group


class HistorySettings(Group):
    """The last hour, as the page and `top` show it."""

    enabled: bool = Field(True, description="Remember the last hour; without it the page shows the present only.")
    slot_seconds: Count = Field(
        30, ge=5, le=600, description="Length of a slot; the status is read once in each, if only for the history."
    )
    most_checks: Count = Field(
        100,
        le=200,
        description="How many checks are remembered at most; fewer with slots shorter than 30 s, as there are more.",
    )
