"""What is asked of DBOS' tables, as SQL for SQLite and PostgreSQL alike. `docs/engines/dbos.md` says what it means.

Names in braces are the tables and what the two databases write differently (`tables.py`). `:*_from` are the keys up to
which the tally has everything, `:*_to` those up to which nothing new can appear: what lies between them is taken in
for good, what lies above (`is_open`) is looked at again next time. Times are milliseconds since the epoch.
"""

from __future__ import annotations

# Every join below goes from few rows to their index. CROSS JOIN keeps SQLite from turning it round; `|| ''` and `+ 0`
# keep both databases from an index that would lead through a whole history.

ALIVE_STATES = ("ENQUEUED", "PENDING", "DELAYED")
ALIVE = str(ALIVE_STATES)
_IS_ALIVE = f"(w.status IS NULL OR w.status IN {ALIVE})"
_ENDED = "('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')"


def _user_step(row: str) -> str:
    """Return the condition that *row* is a step of the application's."""
    return f"{row}.child_workflow_id IS NULL AND substr({row}.function_name, 1, 5) <> 'DBOS.'"


# Clocks of workers differ: what ended before it began says nothing of how long it took.
_STEPS = f"""
SELECT 'step' AS kind, o.{{op_key}} >= :ops_to AS is_open, o.completed_at_epoch_ms / :width AS bucket, NULL AS status,
    count(*) AS number, count(*) AS timed, coalesce(sum(o.completed_at_epoch_ms - o.started_at_epoch_ms), 0) AS total_ms
FROM {{operation_outputs}} o
WHERE {{chosen}} AND o.started_at_epoch_ms <= o.completed_at_epoch_ms AND o.error IS NULL AND {_user_step("o")}
GROUP BY 2, 3
"""
_TASKS_ENDED = f"""
SELECT 'ended' AS kind, completed_at >= :ended_to AS is_open, completed_at / :width AS bucket, status,
    count(*) AS number, count(CASE WHEN completed_at >= created_at THEN 1 END) AS timed,
    coalesce(sum(CASE WHEN completed_at >= created_at THEN completed_at - created_at END), 0) AS total_ms
FROM {{workflow_status}}
WHERE completed_at >= :ended_from AND (status IS NULL OR status NOT IN {ALIVE})
GROUP BY 2, 3, 4
"""
_CHOSEN = "{chosen}"
_NEW = """
SELECT 'new' AS kind, w.{task_key} >= :tasks_to AS is_open, 0 AS bucket, NULL AS status, count(*) AS number, 0 AS timed,
    0 AS total_ms
FROM {workflow_status} w WHERE w.{task_key} >= :tasks_from GROUP BY 2
"""
NEW_TASKS = _NEW
# Alive tasks are found by the partial indexes of DBOS, whose conditions are repeated word for word, and counted without
# groups: SQLite would sort them.
MOVES = f"""
SELECT 'alive' AS kind, {{no}} AS is_open, 0 AS bucket, 'PENDING' AS status, count(*) AS number, 0 AS timed,
    0 AS total_ms
FROM {{workflow_status}} WHERE status = 'PENDING'
UNION ALL
SELECT 'alive', {{no}}, 0, 'ENQUEUED',
    count(*) - (SELECT count(*) FROM {{workflow_status}} WHERE status = 'PENDING'), 0, 0
FROM {{workflow_status}} WHERE status IN ('ENQUEUED', 'PENDING')
UNION ALL
SELECT 'alive', {{no}}, 0, 'DELAYED', count(*), 0, 0 FROM {{workflow_status}} WHERE status = 'DELAYED'
UNION ALL {_NEW}
UNION ALL {_TASKS_ENDED}
UNION ALL {_STEPS.replace(_CHOSEN, "o.{op_key} >= :ops_from AND o.completed_at_epoch_ms + 0 >= :since")}
"""
ALL_STEPS = _STEPS.replace(_CHOSEN, "o.completed_at_epoch_ms >= :since")
ALL_TASKS_ENDED = _TASKS_ENDED

# Whatever something may have happened to: a step of it was recorded, it has ended, was taken from a queue, or is new.
TOUCHED = """
SELECT o.workflow_uuid FROM {operation_outputs} o WHERE o.{op_key} >= :ops_from
UNION SELECT workflow_uuid FROM {workflow_status} WHERE completed_at >= :ended_from
UNION SELECT workflow_uuid FROM {workflow_status}
    WHERE started_at_epoch_ms >= :ended_from AND status || '' = 'PENDING'
UNION SELECT w.workflow_uuid FROM {workflow_status} w WHERE w.{task_key} >= :tasks_from AND w.status || '' = 'PENDING'
"""

_LAST = """
SELECT w.workflow_uuid, {greatest}(
    coalesce(w.created_at, 0), coalesce(w.updated_at, 0), coalesce(w.started_at_epoch_ms, 0), coalesce((
        SELECT max(o.completed_at_epoch_ms + 0) FROM {operation_outputs} o WHERE o.workflow_uuid = w.workflow_uuid
    ), 0)
) AS last
"""
# When each of the running ones has last changed.
RUNNING = f"""{_LAST}
FROM {{ids}} i CROSS JOIN {{workflow_status}} w
WHERE w.workflow_uuid = i.workflow_uuid AND w.status || '' = 'PENDING'
"""
ALL_RUNNING = f"{_LAST} FROM {{workflow_status}} w WHERE w.status = 'PENDING'"

# Of tasks that are alive: those whose last step has failed, and until when they sleep.
_WAITING = f"""
SELECT last.workflow_uuid, coalesce((
    SELECT max(z.completed_at_epoch_ms + 0) FROM {{operation_outputs}} z
    WHERE z.workflow_uuid = last.workflow_uuid AND z.function_id > last.function_id AND z.function_name = 'DBOS.sleep'
), 0) AS due
FROM alive CROSS JOIN {{operation_outputs}} last
WHERE last.workflow_uuid = alive.workflow_uuid AND last.error IS NOT NULL AND last.function_id = (
    SELECT max(o.function_id) FROM {{operation_outputs}} o
    WHERE o.workflow_uuid = alive.workflow_uuid AND {_user_step("o")}
)
"""
WAITING = f"""
WITH alive AS (
    SELECT w.workflow_uuid FROM {{ids}} i CROSS JOIN {{workflow_status}} w
    WHERE w.workflow_uuid = i.workflow_uuid AND {_IS_ALIVE}
) {_WAITING}
"""
ALL_WAITING = f"""
WITH alive AS (
    SELECT workflow_uuid FROM {{workflow_status}} WHERE status IN ('ENQUEUED', 'PENDING')
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE status = 'DELAYED'
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE :stateless > 0 AND status IS NULL
) {_WAITING}
"""

# A step has settled when its last attempt succeeded, or failed and is not repeated: its workflow has ended (not by
# a cancellation, which settles nothing) or has gone on to another step. `last` is such an attempt.
_SETTLED = f""", failing AS MATERIALIZED (
    SELECT o.workflow_uuid, o.function_name, min(o.function_id) AS first_id
    FROM recent CROSS JOIN {{operation_outputs}} o
    WHERE o.workflow_uuid = recent.workflow_uuid AND o.error IS NOT NULL AND {_user_step("o")}
    GROUP BY o.workflow_uuid, o.function_name
)
SELECT last.workflow_uuid, last.completed_at_epoch_ms AS ended, last.error IS NULL AS succeeded
FROM failing CROSS JOIN {{operation_outputs}} last CROSS JOIN {{workflow_status}} w
WHERE last.workflow_uuid = failing.workflow_uuid AND last.function_name = failing.function_name
    AND last.function_id > failing.first_id AND last.completed_at_epoch_ms + 0 >= :since AND {_user_step("last")}
    AND NOT EXISTS (
        SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
            AND o.function_id > last.function_id AND o.function_name = last.function_name AND {_user_step("o")}
    )
    AND w.workflow_uuid = last.workflow_uuid AND (
        last.error IS NULL OR w.status IN {_ENDED} OR EXISTS (
            SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
                AND o.function_id > last.function_id AND {_user_step("o")}
        )
    )
"""
SETTLED = f"WITH recent AS (SELECT i.workflow_uuid FROM {{ids}} i) {_SETTLED}"
ALL_SETTLED = f"""
WITH recent AS MATERIALIZED (
    SELECT DISTINCT o.workflow_uuid || '' AS workflow_uuid FROM {{operation_outputs}} o
    WHERE o.completed_at_epoch_ms >= :since AND {_user_step("o")}
) {_SETTLED}
"""

# `part`: of those that have ended, whether that was before `:ended_to`, later, or at a time that nobody wrote down.
_PART = "CASE WHEN completed_at IS NULL THEN 'untimed' WHEN completed_at < :ended_to THEN 'folded' ELSE 'open' END"
# Most of a history has succeeded: SQLite, which would sort it all, groups only the rest and has the total from an
# index. PostgreSQL groups without sorting, and needs longer for the total than for that.
ALL_STATES = {
    "sqlite": f"""
WITH others AS MATERIALIZED (
    SELECT status, {_PART} AS part, count(*) AS number FROM {{workflow_status}}
    WHERE status <> 'SUCCESS' OR status IS NULL OR completed_at IS NULL OR completed_at >= :ended_to GROUP BY 1, 2
)
SELECT status, part, number FROM others UNION ALL
SELECT 'SUCCESS', 'folded', (SELECT count(*) FROM {{workflow_status}}) - (SELECT coalesce(sum(number), 0) FROM others)
""",
    "postgresql": f"SELECT status, {_PART} AS part, count(*) AS number FROM {{workflow_status}} GROUP BY 1, 2",
}
