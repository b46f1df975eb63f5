"""A month of Tasker's own tables, drawn and written inside PostgreSQL: what a status of the source `tasker` counts.

A task has four or five steps in a diamond: the first, two side by side, one that waits for both, sometimes a last one.
Most tasks completed, nearly half of them after a retry; 1 % failed for good, a few were cancelled or resolved by hand.
The newest 400 are alive: pending, running, waiting for a retry, blocked or left behind.

Every draw is arithmetic on the task's number, so each table is filled by one statement, and two at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from bench import tasker_schema as schema

ALIVE = 400
DAYS = 30
RECENT_AT_MOST = 5000
"""Tasks of the last hour: as many as of any other hour, but not more than this."""

_ALIVE_SECONDS = 600  # the alive were created within
_HOUR = 3600

Path = list[tuple[str, int]]
"""States of one task or step in their order, each with its milliseconds after the task's creation."""

_DONE: dict[int, Path] = {
    1: [("in_progress", 100), ("complete", 500)],
    2: [("in_progress", 600), ("complete", 1300)],
    3: [("in_progress", 600), ("complete", 1100)],
    4: [("in_progress", 1400), ("complete", 1900)],
    5: [("in_progress", 2000), ("complete", 2600)],
}
_RETRIED: Path = [("in_progress", 600), ("error", 650), ("pending", 1200), ("in_progress", 1220), ("complete", 1390)]
_FAILED: Path = [
    *[("in_progress", 600), ("error", 700), ("pending", 2700), ("in_progress", 2710)],
    *[("error", 2800), ("pending", 6900), ("in_progress", 6910), ("error", 7000)],
]
_FIRST, _HALF = {1: _DONE[1]}, {1: _DONE[1], 3: _DONE[3]}

STEPS: dict[str, dict[int, Path]] = {
    "complete": _DONE,
    "retried": {**_DONE, 3: _RETRIED},
    "error": {**_HALF, 2: _FAILED},
    "cancelled": {**_FIRST, 2: [("cancelled", 700)]},
    "resolved": {**_HALF, 2: _FAILED},
    "running": {**_FIRST, 2: [("in_progress", 600)]},
    "left_behind": {**_FIRST, 2: [("in_progress", 600)]},
    "due": {**_HALF, 2: [("in_progress", 600), ("error", 700)]},
    "waiting": {**_HALF, 2: [("in_progress", 600), ("error", 700)]},
    "blocked": {**_HALF, 2: _FAILED},
}
"""What became of a task: the paths of those of its steps that have one."""

_BEGUN: Path = [("in_progress", 50)]
TASKS: dict[str, Path] = {
    "complete": [*_BEGUN, ("complete", 2700)],
    "retried": [*_BEGUN, ("complete", 2700)],
    "error": [*_BEGUN, ("error", 7100)],
    "cancelled": [*_BEGUN, ("cancelled", 700)],
    "resolved": [*_BEGUN, ("error", 7100), ("resolved_manually", 60_000)],
    "accepted": [("pending", 0)],
    **dict.fromkeys(("running", "left_behind", "due", "waiting", "blocked", "ready"), _BEGUN),
}
"""Paths of tasks; one that is not here has no transition, so it is pending."""

# OFFSET 0 keeps what was drawn of a task from being drawn again for each row that comes of it. `back` counts from the
# newest task, which is 0. The newest half of the alive is pending, the other has begun.
_DRAWN = """
SELECT n, back, speed, 4 + (n - 1) % 2 AS steps, 4 * (n - 1) + (n - 1) / 2 AS steps_before, CASE
        WHEN back < {alive} / 2 THEN CASE WHEN back % 10 = 0 THEN 'accepted' ELSE 'pending' END
        WHEN back < {alive} THEN CASE back % 20 WHEN 0 THEN 'left_behind' ELSE
            (ARRAY['running', 'due', 'waiting', 'blocked', 'ready'])[1 + back % 5] END
        WHEN draw < 10 THEN 'error' WHEN draw < 15 THEN 'cancelled' WHEN draw < 17 THEN 'resolved'
        WHEN draw < 460 THEN 'retried' ELSE 'complete' END AS fate,
    timestamp '{now}' - interval '1 second' * CASE
        WHEN back < {alive} THEN 2 + back * {alive_pace} + CASE WHEN back % 20 = 0 THEN 86400 ELSE 0 END
        WHEN back < {alive} + {recent} THEN {alive_seconds} + 10 + (back - {alive}) * {recent_pace}
        ELSE 3600 + (back - {alive} - {recent}) * {pace} END AS created_at
FROM (
    SELECT n, {tasks} - n AS back, n * 2654435761 % 1000 AS draw, 0.5 + (n * 40503 % 1000) / 1000e0 AS speed
    FROM (SELECT generate_series(1, {tasks}::bigint) AS n) numbered
) numbers OFFSET 0
"""

_FILLS = {
    "tasker_tasks": """
INSERT INTO tasker_tasks (task_id, named_task_id, complete, requested_at, initiator, source_system, reason, context,
    identity_hash, created_at, updated_at)
SELECT n, 1 + n % 6, fate IN ('complete', 'retried', 'resolved'), created_at, 'shop', 'orders', 'order placed',
    jsonb_build_object('order_id', n), 'order-' || n, created_at, created_at FROM drawn
""",
    "tasker_workflow_steps": """
INSERT INTO tasker_workflow_steps (workflow_step_id, task_id, named_step_id, in_process, processed, processed_at,
    attempts, last_attempted_at, backoff_request_seconds, inputs, results, created_at, updated_at)
SELECT steps_before + step, n, step, in_process, processed, {at.processed_ms}, attempts, {at.attempted_ms},
    backoff_seconds, '{{"order": 1}}', CASE WHEN processed THEN jsonb '{{"ok": true}}' END, created_at, created_at
FROM drawn JOIN (VALUES {step_rows}) plan (fate, step, in_process, processed, processed_ms, attempts, attempted_ms,
    backoff_seconds) USING (fate) WHERE step <= steps
""",
    "tasker_workflow_step_edges": """
INSERT INTO tasker_workflow_step_edges (from_step_id, to_step_id, name, created_at, updated_at)
SELECT steps_before + parent, steps_before + child, 'provides', created_at, created_at
FROM drawn CROSS JOIN (VALUES (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)) edge (parent, child) WHERE child <= steps
""",
    "tasker_task_transitions": """
INSERT INTO tasker_task_transitions (to_state, from_state, sort_key, most_recent, task_id, created_at, updated_at)
SELECT to_state, from_state, sort_key, most_recent, n, at, at FROM (
    SELECT *, {at.ms} AS at
    FROM drawn JOIN (VALUES {task_path_rows}) plan (fate, to_state, from_state, sort_key, most_recent, ms) USING (fate)
    OFFSET 0
) rows
""",
    "tasker_workflow_step_transitions": """
INSERT INTO tasker_workflow_step_transitions (to_state, from_state, sort_key, most_recent, workflow_step_id,
    created_at, updated_at)
SELECT to_state, from_state, sort_key, most_recent, steps_before + step, at, at FROM (
    SELECT *, {at.ms} AS at
    FROM drawn JOIN (VALUES {step_path_rows}) plan (fate, step, to_state, from_state, sort_key, most_recent, ms)
        USING (fate) WHERE step <= steps OFFSET 0
) rows
""",
}


def load(url: str, tasks: int) -> float:
    """Make Tasker's tables in the empty database at *url* with so many *tasks*; return the seconds that it took."""
    began = time.perf_counter()
    with _connected(url) as connection:
        for table in schema.TABLES.keys() - schema.SEQUENCES.keys():
            connection.execute("; ".join(schema.create(table)))
        _name_things(connection)
    fills = _statements(tasks)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda table: _fill(url, table, fills[table]), schema.INDEXES))
        list(both.map(lambda table: _vacuum(url, table), schema.INDEXES))
    with _connected(url) as connection:
        for statement in schema.FOREIGN_KEYS:
            connection.execute(statement)
    return time.perf_counter() - began


def _fill(url: str, table: str, fill: str) -> None:
    # In the transaction that made the table, so that `wal_level` minimal writes neither rows nor indexes twice.
    with _connected(url) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        with connection.transaction():
            for statement in [*schema.create(table), fill, *schema.indexes(table)]:
                connection.execute(statement)
            column = schema.SEQUENCES[table]
            connection.execute(f"SELECT setval('{table}_{column}_seq', (SELECT max({column}) FROM {table}))")


def _vacuum(url: str, table: str) -> None:
    """Do what autovacuum does in time. While another table was being filled, no row would have counted as old."""
    with _connected(url) as connection:
        connection.execute(f"VACUUM (ANALYZE) {table}")


def _connected(url: str) -> Any:
    import psycopg

    return psycopg.connect(url, autocommit=True)


def _name_things(connection: Any) -> None:
    versions = _values((version,) for version in schema.KNOWN_VERSIONS)
    connection.execute(f"INSERT INTO schema_migrations VALUES {versions}")
    named = "SELECT n, 'name_' || n, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' FROM generate_series(1, {0}) n"
    for table, column, many in (
        ("tasker_task_namespaces", "task_namespace_id", 3),
        ("tasker_named_tasks", "named_task_id", 6),
        ("tasker_named_steps", "named_step_id", 5),
    ):
        connection.execute(f"INSERT INTO {table} ({column}, name, created_at, updated_at) {named.format(many)}")
    connection.execute("UPDATE tasker_named_tasks SET task_namespace_id = 1 + named_task_id % 3")


class _At:
    """Writes the moment of a column of milliseconds: `{at.ms}`."""

    def __getattr__(self, column: str) -> str:
        return f"created_at + {column} * speed * interval '1 millisecond'"


def _statements(tasks: int) -> dict[str, str]:
    """Return the statement that fills each table."""
    recent = max(1, min(round(tasks / DAYS / 24), RECENT_AT_MOST))
    drawn = _DRAWN.format(
        tasks=tasks,
        now=datetime.now(UTC).replace(tzinfo=None),
        alive=ALIVE,
        alive_pace=_ALIVE_SECONDS / ALIVE,
        alive_seconds=_ALIVE_SECONDS,
        recent=recent,
        recent_pace=(_HOUR - _ALIVE_SECONDS - 10) / recent,
        pace=(DAYS * 24 - 1) * _HOUR / max(1, tasks - ALIVE - recent),
    )
    rows = {
        "step_rows": _values(_step_rows()),
        "task_path_rows": _values((fate, *row) for fate, path in TASKS.items() for row in _path_rows(path)),
        "step_path_rows": _values(
            (fate, step, *row)
            for fate, paths in STEPS.items()
            for step, path in paths.items()
            for row in _path_rows(path)
        ),
    }
    return {
        table: fill.format(at=_At(), **rows).replace("drawn", f"({drawn}) drawn", 1) for table, fill in _FILLS.items()
    }


def _path_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    before = "pending" if path and path[0][0] != "pending" else None
    for place, (state, milliseconds) in enumerate(path, 1):
        yield state, before, 10 * place, place == len(path), milliseconds
        before = state


def _step_rows() -> Iterator[tuple[Any, ...]]:
    for fate in sorted({*STEPS, *TASKS, "pending"}):
        for step in range(1, 6):
            path = STEPS.get(fate, {}).get(step, [])
            state, ended = path[-1] if path else ("pending", 0)
            begun = [milliseconds for each, milliseconds in path if each == "in_progress"]
            processed = state in {"complete", "cancelled"}
            yield (
                *(fate, step, state == "in_progress", processed, float(ended) if processed else None),
                *(len(begun) or None, float(begun[-1]) if begun else None),
                3 * _HOUR if fate == "waiting" and state == "error" else None,
            )


def _values(rows: Any) -> str:
    """Return *rows* as SQL writes them, the last one first: a hash join finds them in the opposite order."""
    return ", ".join(f"({', '.join(map(_literal, row))})" for row in reversed(list(rows)))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()
