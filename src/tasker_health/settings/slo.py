"""The settings of objectives: how much of what work may fail."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasker_health.settings.kinds import Count, Group, Ratio

Objective = Annotated[Ratio, Field(gt=0, lt=1)]


class SloSettings(Group):
    """An objective: which share of the work of one kind is to end well."""

    objective: Objective = Field(description="Share of the work that ends that is to end well, such as 0.999.")
    source: str | None = Field(None, min_length=1, description="Only work of this source; unset: of all.")
    handler: str | None = Field(None, min_length=1, description="Only work of this handler or workflow; unset: of all.")
    queue: str | None = Field(None, min_length=1, description="Only work of this queue; unset: of all.")
    window_days: Count = Field(30, le=90, description="Period over which the objective is to be met.")
    min_events: Count = Field(20, description="Fewer ends of work within an hour or more fire nothing.")
