"""What is done to Tasker's tables that no transition tells: purges, edits, restores, and ids out of their order.

Each disturbance gets a connection on which nothing is open, and commits what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from contract.tasker_schema import WORK
from integration.tasker_writers import NOW

Connection = psycopg.Connection[Any]
Disturbance = Callable[[Connection], None]
_ALL = ", ".join(WORK)


def delete_old(connection: Connection) -> None:
    """Purge the older half of the tasks with everything of them."""
    steps = "SELECT workflow_step_id FROM tasker_workflow_steps WHERE task_id <= %(last)s"
    with connection.transaction():
        last = connection.execute("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY task_id) FROM tasker_tasks")
        values = {"last": (last.fetchone() or (0,))[0]}
        for statement in (
            f"DELETE FROM tasker_workflow_step_edges WHERE to_step_id IN ({steps}) OR from_step_id IN ({steps})",
            f"DELETE FROM tasker_workflow_step_transitions WHERE workflow_step_id IN ({steps})",
            "DELETE FROM tasker_workflow_steps WHERE task_id <= %(last)s",
            "DELETE FROM tasker_task_transitions WHERE task_id <= %(last)s",
            "DELETE FROM tasker_tasks WHERE task_id <= %(last)s",
        ):
            connection.execute(statement, values)


def delete_and_stay(connection: Connection) -> None:
    """Purge, just after another commit, and begin a transaction at once: what was deleted is reported late."""
    connection.execute("SELECT 1")
    delete_old(connection)
    connection.execute("BEGIN")
    connection.execute("SELECT 1")


def truncate(connection: Connection) -> None:
    """Empty all of it."""
    connection.execute(f"TRUNCATE {_ALL}")


def truncate_and_restart(connection: Connection) -> None:
    """Empty all of it, and let ids begin at 1 again."""
    connection.execute(f"TRUNCATE {_ALL} RESTART IDENTITY")


def vacuum_full(connection: Connection) -> None:
    """Write all of it anew; no row is another one."""
    connection.execute(f"VACUUM FULL {_ALL}")


def edit_states(connection: Connection) -> None:
    """Change what transitions say, in place."""
    for table in ("tasker_task_transitions", "tasker_workflow_step_transitions"):
        connection.execute(f"UPDATE {table} SET to_state = 'cancelled' WHERE most_recent AND id % 3 = 0")


def edit_limits(connection: Connection) -> None:
    """Change how often steps may be tried, without a transition."""
    connection.execute("UPDATE tasker_workflow_steps SET retry_limit = 1, retryable = workflow_step_id % 2 = 0")


def edit_flags(connection: Connection) -> None:
    """Change what keeps steps from being tried again, without a transition."""
    connection.execute("UPDATE tasker_workflow_steps SET processed = NOT coalesce(processed, false), attempts = 1")


def restore(connection: Connection) -> None:
    """Empty all of it and put two thirds of it back with the ids that the rows had, as a backup does."""
    with connection.transaction():
        connection.execute(f"LOCK TABLE {_ALL} IN ACCESS EXCLUSIVE MODE")
        for table in WORK:
            connection.execute(f"CREATE TEMP TABLE kept_{table} ON COMMIT DROP AS SELECT * FROM {table}")
        connection.execute(f"TRUNCATE {_ALL}")
        connection.execute("CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT task_id FROM kept_tasker_tasks")
        connection.execute("DELETE FROM gone WHERE task_id % 3 <> 0")
        of_step = "(SELECT workflow_step_id FROM kept_tasker_workflow_steps WHERE task_id IN (SELECT * FROM gone))"
        gone = {
            "tasker_workflow_step_edges": f"from_step_id IN {of_step} OR to_step_id IN {of_step}",
            "tasker_workflow_step_transitions": f"workflow_step_id IN {of_step}",
        }
        for table in WORK:
            without = gone.get(table, "task_id IN (SELECT * FROM gone)")
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table} WHERE NOT ({without})")


def explicit_high_ids(connection: Connection) -> None:
    """Add transitions whose ids are far above what the sequence has handed out; it will come to them later."""
    _add_tasks(connection, "(SELECT max(id) FROM tasker_task_transitions) + 100000 + n")


def explicit_low_ids(connection: Connection) -> None:
    """Add transitions whose ids are below all that are there, as of a range that was set aside long ago."""
    _add_tasks(connection, "(SELECT min(id) FROM tasker_task_transitions) - 100 - n")


def preallocated_ids(connection: Connection) -> None:
    """Take ids from the sequence, and use them only much later."""
    connection.execute("SELECT nextval('tasker_task_transitions_id_seq') FROM generate_series(1, 10)")
    last = connection.execute("SELECT last_value FROM tasker_task_transitions_id_seq").fetchone()
    assert last is not None
    connection.execute("SELECT nextval('tasker_task_transitions_id_seq')")
    _add_tasks(connection, f"{last[0]} - n")


def sequence_forward(connection: Connection) -> None:
    """Let ids go on far above."""
    connection.execute(
        "SELECT setval('tasker_task_transitions_id_seq', nextval('tasker_task_transitions_id_seq') + 1000000)"
    )


def sequence_back(connection: Connection) -> None:
    """Let ids go on after the highest that is there, as scripts do after a restore."""
    connection.execute("SELECT setval('tasker_task_transitions_id_seq', max(id)) FROM tasker_task_transitions")


def delete_back(connection: Connection) -> None:
    """Delete what was last, and let its ids be handed out once more."""
    with connection.transaction():
        connection.execute(f"LOCK TABLE {_ALL} IN ACCESS EXCLUSIVE MODE")
        connection.execute(
            "DELETE FROM tasker_task_transitions WHERE task_id IN (SELECT max(task_id) FROM tasker_tasks)"
        )
        connection.execute(
            "SELECT setval('tasker_task_transitions_id_seq', greatest(max(id), 1)) FROM tasker_task_transitions"
        )


def _add_tasks(connection: Connection, id_: str) -> None:
    """Add ten tasks that are in progress, with transitions whose ids are given by the expression *id_*."""
    connection.execute(
        "WITH made AS (INSERT INTO tasker_tasks (named_task_id, requested_at, created_at, updated_at)"
        f" SELECT 1, {NOW}, {NOW}, {NOW} FROM generate_series(1, 10) RETURNING task_id),"
        " numbered AS (SELECT task_id, row_number() OVER () AS n FROM made)"
        " INSERT INTO tasker_task_transitions (id, task_id, to_state, sort_key, created_at, updated_at)"
        f" SELECT {id_}, task_id, 'in_progress', 10, {NOW}, {NOW} FROM numbered"
    )


def _by_name(*functions: Disturbance) -> dict[str, Disturbance]:
    return {function.__name__: function for function in functions}


NEVER_WRONG = _by_name(vacuum_full, sequence_forward)
"""After these the very next reading is right."""

REPLACED = _by_name(truncate, truncate_and_restart, restore)
"""The next reading finds these by the tables' files, and has them counted anew."""

REPORTED = _by_name(edit_limits, edit_flags, delete_old, delete_back, edit_states)
"""These are found when the server's statistics tell of them."""

VERIFIED = _by_name(delete_and_stay, explicit_low_ids, preallocated_ids)
"""Nothing tells of these before the tally is verified."""


def disturb(connection: Connection, act: Disturbance) -> None:
    """Do *act*, again when writers were in its way; what it waits for it gives up, rather than hold up everybody."""
    connection.execute("SET lock_timeout = '10s'")
    for _ in range(20):
        try:
            return act(connection)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable, psycopg.errors.IntegrityError):
            connection.execute("ROLLBACK")
    raise AssertionError(f"{act.__name__} never got through")
