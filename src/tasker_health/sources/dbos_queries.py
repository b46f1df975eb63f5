"""What is asked of DBOS' tables, as SQL for SQLite and PostgreSQL alike. `sources/dbos.py` says what it means.

Names in braces are the tables; `:since` is the beginning of the window, `:cutoff` the latest moment of stuck work and
`:now` the database's clock, all in milliseconds since the epoch.
"""

from __future__ import annotations

# Every join below goes from few rows to their index. CROSS JOIN keeps SQLite from turning it round; `|| ''` keeps it
# from reading a whole primary key to have a few names in order.

# Most of a history has succeeded: SQLite, which would sort it all, groups only the rest and has the total from an
# index. PostgreSQL groups without sorting, and needs longer for the total than for that.
COUNTS = {
    "sqlite": """
WITH others AS MATERIALIZED (
    SELECT status, count(*) AS tasks FROM {workflow_status}
    WHERE status <> 'SUCCESS' OR status IS NULL GROUP BY status
)
SELECT status, tasks FROM others UNION ALL
SELECT 'SUCCESS', (SELECT count(*) FROM {workflow_status}) - (SELECT coalesce(sum(tasks), 0) FROM others)
""",
    "postgresql": "SELECT status, count(*) AS tasks FROM {workflow_status} GROUP BY status",
}

# Clocks of workers differ: what ended before it began says nothing of how long it took.
WINDOW_TASKS = """
SELECT status, count(*) AS tasks,
    count(CASE WHEN completed_at >= created_at THEN 1 END) AS timed,
    coalesce(sum(CASE WHEN completed_at >= created_at THEN completed_at - created_at END), 0) AS total_ms
FROM {workflow_status}
WHERE completed_at >= :since AND status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
GROUP BY status
"""


def _user_step(row: str) -> str:
    """Return the condition that *row* is a step of the application's."""
    return f"{row}.child_workflow_id IS NULL AND substr({row}.function_name, 1, 5) <> 'DBOS.'"


WINDOW_STEPS = f"""
SELECT count(*) AS steps, coalesce(sum(o.completed_at_epoch_ms - o.started_at_epoch_ms), 0) AS total_ms
FROM {{operation_outputs}} o
WHERE o.completed_at_epoch_ms >= :since AND o.started_at_epoch_ms <= o.completed_at_epoch_ms
    AND o.error IS NULL AND {_user_step("o")}
"""

# A step has settled when its last attempt succeeded, or failed and is not repeated: its workflow has ended (not by
# a cancellation, which settles nothing) or has gone on to another step. `last` is such an attempt.
WINDOW_RETRIES = f"""
WITH recent AS MATERIALIZED (
    SELECT DISTINCT o.workflow_uuid || '' AS workflow_uuid FROM {{operation_outputs}} o
    WHERE o.completed_at_epoch_ms >= :since AND {_user_step("o")}
), failing AS MATERIALIZED (
    SELECT o.workflow_uuid, o.function_name, min(o.function_id) AS first_id
    FROM recent CROSS JOIN {{operation_outputs}} o
    WHERE o.workflow_uuid = recent.workflow_uuid AND o.error IS NOT NULL AND {_user_step("o")}
    GROUP BY o.workflow_uuid, o.function_name
)
SELECT count(*) AS settled, coalesce(sum(CASE WHEN last.error IS NULL THEN 1 ELSE 0 END), 0) AS succeeded
FROM failing CROSS JOIN {{operation_outputs}} last CROSS JOIN {{workflow_status}} w
WHERE last.workflow_uuid = failing.workflow_uuid AND last.function_name = failing.function_name
    AND last.function_id > failing.first_id AND last.completed_at_epoch_ms >= :since AND {_user_step("last")}
    AND NOT EXISTS (
        SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
            AND o.function_id > last.function_id AND o.function_name = last.function_name AND {_user_step("o")}
    )
    AND w.workflow_uuid = last.workflow_uuid AND (
        last.error IS NULL OR w.status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') OR EXISTS (
            SELECT 1 FROM {{operation_outputs}} o WHERE o.workflow_uuid = last.workflow_uuid
                AND o.function_id > last.function_id AND {_user_step("o")}
        )
    )
"""

# Alive tasks are found by the partial indexes of DBOS, whose conditions are repeated word for word. Those without a
# state have none, so they are looked for only when the counts, of the same snapshot, have found some.
RETRY_QUEUE = f"""
WITH alive AS (
    SELECT workflow_uuid FROM {{workflow_status}} WHERE status IN ('ENQUEUED', 'PENDING')
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE status = 'DELAYED'
    UNION ALL SELECT workflow_uuid FROM {{workflow_status}} WHERE :stateless > 0 AND status IS NULL
)
SELECT count(*) AS waiting, coalesce(sum(CASE WHEN EXISTS (
        SELECT 1 FROM {{operation_outputs}} z
        WHERE z.workflow_uuid = last.workflow_uuid AND z.function_id > last.function_id
            AND z.function_name = 'DBOS.sleep' AND z.completed_at_epoch_ms > :now
    ) THEN 1 ELSE 0 END), 0) AS in_backoff
FROM alive CROSS JOIN {{operation_outputs}} last
WHERE last.workflow_uuid = alive.workflow_uuid AND last.error IS NOT NULL AND last.function_id = (
    SELECT max(o.function_id) FROM {{operation_outputs}} o
    WHERE o.workflow_uuid = alive.workflow_uuid AND {_user_step("o")}
)
"""

STUCK = """
SELECT count(*) FROM {workflow_status} w
WHERE w.status = 'PENDING' AND w.updated_at < :cutoff AND w.created_at < :cutoff
    AND coalesce(w.started_at_epoch_ms, 0) < :cutoff
    AND NOT EXISTS (
        SELECT 1 FROM {operation_outputs} o
        WHERE o.workflow_uuid = w.workflow_uuid AND o.completed_at_epoch_ms >= :cutoff
    )
"""

NOW = {
    "sqlite": "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
}

# The planner takes an index for as dear as a disk's seek and would read a whole history to spare a few thousand.
# A health reading takes no workers from the application, and is over before a compilation would pay.
POSTGRESQL_SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL enable_hashjoin = off;"
    " SET LOCAL enable_mergejoin = off; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off"
)

CONNECTIONS = """
SELECT (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database), pg_catalog.current_setting('max_connections')::int
"""
