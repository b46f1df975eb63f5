"""Indexes of the owner's that would make counting everything faster: proposed, never made."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tasker_health.sources import Advice

_INDEXES = (
    (
        "tasker_health_steps_newest",
        "tasker_workflow_step_transitions",
        "(to_state, workflow_step_id) WHERE most_recent",
        "steps by state, and those that are failing, from an index",
    ),
    (
        "tasker_health_tasks_newest",
        "tasker_task_transitions",
        "(to_state, task_id) WHERE most_recent",
        "tasks by state, and those in progress, from an index",
    ),
    (
        "tasker_health_steps_created",
        "tasker_workflow_step_transitions",
        "USING brin (created_at)",
        "the window without reading older transitions of steps; a few pages large",
    ),
    (
        "tasker_health_tasks_created",
        "tasker_task_transitions",
        "USING brin (created_at)",
        "the window without reading older transitions of tasks; a few pages large",
    ),
)
"""Name, table, definition, and what it is good for."""

_THERE = "SELECT relname FROM pg_catalog.pg_class WHERE relname = ANY(:names) AND relkind = 'i'"


def missing(connection: sa.Connection, schema: str) -> list[Advice]:
    """Return the indexes that are not there, by their names."""
    names = [name for name, *_ in _INDEXES]
    rows: Any = connection.execute(sa.text(_THERE), {"names": names})
    there = set(rows.scalars())
    quoted = schema.replace('"', '""')
    return [
        Advice(f'CREATE INDEX CONCURRENTLY {name} ON "{quoted}".{table} {definition};', good_for)
        for name, table, definition, good_for in _INDEXES
        if name not in there
    ]
