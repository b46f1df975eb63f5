"""Work that goes on while Tasker's tables are read: new tasks and their transitions, each in a transaction of its own.

A transition does what the engine does: the newest row gives up `most_recent`, a new one takes it with the next
`sort_key`, and the step or task that it is about is updated. A task is ten transitions; in every tenth the third step
is tried twice.
"""

from __future__ import annotations

from typing import Any

TRANSITIONS_A_TASK = 10  # of one that needs no retry

_NOW = "clock_timestamp() AT TIME ZONE 'UTC'"
_EDGES = ((1, 2), (1, 3), (2, 4), (3, 4))
_DONE = "complete = true, updated_at = {now}"


def _task(values: dict[str, str]) -> tuple[str, str, str]:
    """Return the statements that insert a task, its steps and their edges; *values* names what they need."""
    now = values["now"]
    return (
        (
            "INSERT INTO tasker_tasks (named_task_id, requested_at, initiator, source_system, reason, context,"
            f" identity_hash, created_at, updated_at) SELECT 1 + {values['draw']} % 6, now, 'shop', 'orders',"
            f" 'order placed', '{{\"order_id\": 1}}', 'order-new', now, now FROM (SELECT {now} AS now) n"
            " RETURNING task_id"
        ),
        (
            "WITH made AS (INSERT INTO tasker_workflow_steps (task_id, named_step_id, inputs, created_at, updated_at)"
            f" SELECT {values['task']}, step, '{{\"order\": 1}}', {now}, {now} FROM generate_series(1, 4) step"
            " RETURNING workflow_step_id AS id) SELECT array_agg(id ORDER BY id) AS steps FROM made"
        ),
        "INSERT INTO tasker_workflow_step_edges (from_step_id, to_step_id, name, created_at, updated_at) VALUES "
        + ", ".join(
            f"({values['steps'].format(a)}, {values['steps'].format(b)}, 'provides', {now}, {now})" for a, b in _EDGES
        ),
    )


_STEP_STATES = {
    "in_progress": f"in_process = true, attempts = coalesce(attempts, 0) + 1, last_attempted_at = {_NOW},"
    f" updated_at = {_NOW}",
    "complete": "in_process = false, processed = true, results = '{\"ok\": true}',"
    f" processed_at = {_NOW}, updated_at = {_NOW}",
    "error": f"in_process = false, updated_at = {_NOW}",
    "pending": f"updated_at = {_NOW}",
}


def _procedure() -> str:
    """Return what makes so many transitions from one connection, inside the server."""
    task, steps, edges = _task({"now": _NOW, "draw": "made", "task": "task", "steps": "steps[{}]"})
    changes = "".join(
        f"WHEN '{state}' THEN UPDATE tasker_workflow_steps SET {change} WHERE workflow_step_id = entity; "
        for state, change in _STEP_STATES.items()
    )

    def move(table: str, column: str, then: str) -> str:
        return f"""
DECLARE key integer; before varchar;
BEGIN
    UPDATE {table} SET most_recent = false, updated_at = {_NOW} WHERE {column} = entity AND most_recent
        RETURNING sort_key, to_state INTO key, before;
    INSERT INTO {table} (to_state, from_state, sort_key, {column}, created_at, updated_at)
        VALUES (state, coalesce(before, 'pending'), coalesce(key, 0) + 10, entity, {_NOW}, {_NOW});
    {then}
    COMMIT;
END
"""

    of_task = move(
        *("tasker_task_transitions", "task_id"),
        f"IF state = 'complete' THEN UPDATE tasker_tasks SET {_DONE.format(now=_NOW)} WHERE task_id = entity; END IF;",
    )
    of_step = move("tasker_workflow_step_transitions", "workflow_step_id", f"CASE state {changes} END CASE;")
    return f"""
CREATE SCHEMA bench;
CREATE PROCEDURE bench.move_task(entity bigint, state varchar) LANGUAGE plpgsql AS $${of_task}$$;
CREATE PROCEDURE bench.move_step(entity bigint, state varchar) LANGUAGE plpgsql AS $${of_step}$$;
CREATE PROCEDURE bench.work(wanted integer) LANGUAGE plpgsql AS $$
DECLARE made integer := 0; task bigint; steps bigint[]; place integer; path varchar[]; state varchar;
BEGIN
    LOOP
        {task} INTO task;
        {steps} INTO steps;
        {edges};
        COMMIT;
        FOR place IN 0..5 LOOP
            path := CASE WHEN place = 0 THEN '{{in_progress}}' WHEN place = 5 THEN '{{complete}}'
                WHEN place = 3 AND task % 10 = 0 THEN '{{in_progress,error,pending,in_progress,complete}}'
                ELSE '{{in_progress,complete}}' END;
            FOREACH state IN ARRAY path LOOP
                IF made >= wanted THEN RETURN; END IF;
                IF place IN (0, 5) THEN CALL bench.move_task(task, state);
                ELSE CALL bench.move_step(steps[place], state); END IF;
                made := made + 1;
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
"""


def prepare(connection: Any) -> None:
    """Make the procedures of `work` in a schema of their own; *connection* is in autocommit mode."""
    connection.execute(_procedure())


def work(connection: Any, transitions: int) -> None:
    """Make exactly so many transitions, each committed by itself, of new tasks."""
    connection.execute(f"CALL bench.work({transitions})")


def script() -> str:
    """Return one task as a script of pgbench, statement by statement as a worker sends them."""
    task, steps, edges = _task({"now": _NOW, "draw": ":client_id", "task": ":task_id", "steps": ":step_{}"})
    steps = steps.replace("array_agg(id ORDER BY id) AS steps", _four("id"))
    lines = ["BEGIN;", f"{task} \\gset", f"{steps} \\gset", f"{edges};", "END;"]
    lines += _script_of_task("in_progress", 1)
    for place in range(1, 5):
        lines += _script_of_step(place, "in_progress", 1) + _script_of_step(place, "complete", 2)
    lines += _script_of_task("complete", 2)
    return "\n".join(lines) + "\n"


def _four(column: str) -> str:
    return ", ".join(f"(array_agg({column} ORDER BY {column}))[{place}] AS step_{place}" for place in range(1, 5))


def _script_of_task(state: str, place: int) -> list[str]:
    lines = _script("tasker_task_transitions", "task_id", ":task_id", state, place)
    if state == "complete":
        lines.insert(-1, f"UPDATE tasker_tasks SET {_DONE.format(now=_NOW)} WHERE task_id = :task_id;")
    return lines


def _script_of_step(step: int, state: str, place: int) -> list[str]:
    lines = _script("tasker_workflow_step_transitions", "workflow_step_id", f":step_{step}", state, place)
    change = f"UPDATE tasker_workflow_steps SET {_STEP_STATES[state]} WHERE workflow_step_id = :step_{step};"
    return [*lines[:-1], change, lines[-1]]


def _script(table: str, column: str, entity: str, state: str, place: int) -> list[str]:
    before = "pending" if place == 1 else "in_progress"
    return [
        "BEGIN;",
        f"UPDATE {table} SET most_recent = false, updated_at = {_NOW} WHERE {column} = {entity} AND most_recent;",
        (
            f"INSERT INTO {table} (to_state, from_state, sort_key, {column}, created_at, updated_at)"
            f" VALUES ('{state}', '{before}', {10 * place}, {entity}, {_NOW}, {_NOW});"
        ),
        "END;",
    ]
