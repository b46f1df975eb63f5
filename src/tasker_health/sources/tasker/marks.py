"""Ids of Tasker's tables, and which of them are settled."""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.sources import marks


class Ids(NamedTuple):
    """An id of each table: of tasks, steps, and the transitions of both."""

    tasks: int
    steps: int
    task_transitions: int
    step_transitions: int


class Marks(marks.Marks[Ids]):
    """Learns from each poll up to which ids everything is settled."""
