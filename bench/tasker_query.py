"""The contenders of the source `tasker`: its figures by one query over everything, as the original Tasker asks.

`COUNTS` is what the original's health query counts, as it counts it; `FULL` is every figure of the source, written as
well as we can, with the engine's own indexes and PostgreSQL's parallel workers. Where the planner takes the few rows of
a figure for many and joins whole tables, LATERAL and subqueries keep it to the indexes.
"""

from __future__ import annotations

import json
from typing import Any

WINDOW_SECONDS, STUCK_SECONDS = 3600, 900  # buckets of the window are a second wide

_TASKS = """
SELECT coalesce(m.to_state, 'pending') AS state, count(*) AS tasks, min(t.task_id) AS first_id
FROM tasker_tasks t LEFT JOIN tasker_task_transitions m ON m.task_id = t.task_id AND m.most_recent GROUP BY 1
"""

COUNTS = f"""
SELECT t.*, s.* FROM (SELECT json_object_agg(state, tasks) AS tasks_by_state FROM ({_TASKS}) tasks) t
CROSS JOIN (
    SELECT count(*) AS steps,
        count(*) FILTER (WHERE m.to_state IS NULL OR m.to_state = 'pending') AS pending,
        count(*) FILTER (WHERE m.to_state = 'in_progress') AS running,
        count(*) FILTER (WHERE m.to_state = 'complete') AS complete,
        count(*) FILTER (WHERE m.to_state = 'error') AS error,
        count(*) FILTER (WHERE m.to_state = 'error' AND s.attempts < s.retry_limit AND s.retryable) AS retryable,
        count(*) FILTER (WHERE m.to_state = 'error' AND s.attempts >= s.retry_limit) AS exhausted,
        count(*) FILTER (WHERE m.to_state = 'error' AND s.attempts < s.retry_limit AND s.retryable
            AND s.last_attempted_at IS NOT NULL) AS in_backoff
    FROM tasker_workflow_steps s
    LEFT JOIN tasker_workflow_step_transitions m ON m.workflow_step_id = s.workflow_step_id AND m.most_recent
) s
"""

_RETRYABLE = """NOT coalesce({s}.processed, false) AND NOT coalesce({s}.in_process, false)
    AND coalesce({s}.retryable, true) AND coalesce({s}.attempts, 0) < coalesce({s}.retry_limit, 3)"""
_FOR_GOOD = "(coalesce({s}.attempts, 0) >= coalesce({s}.retry_limit, 3) OR NOT coalesce({s}.retryable, true))"
_DONE = "('complete', 'resolved_manually')"

# Written out wherever it is needed: PostgreSQL then knows how few rows are that young, and asks its workers for them.
_SINCE = f"(date_trunc('second', now() AT TIME ZONE 'UTC') - interval '{WINDOW_SECONDS} seconds')"

FULL = f"""
WITH moment AS MATERIALIZED (
    SELECT now_utc, now_utc - interval '{STUCK_SECONDS} seconds' AS stuck_before
    FROM (SELECT now() AT TIME ZONE 'UTC' AS now_utc) n
), by_state AS MATERIALIZED ({_TASKS}
), by_step AS MATERIALIZED (
    SELECT to_state AS state, count(*) AS steps FROM tasker_workflow_step_transitions WHERE most_recent GROUP BY 1
), failed AS MATERIALIZED (
    SELECT s.*, f.created_at AS failed_at FROM tasker_workflow_step_transitions f
    CROSS JOIN LATERAL (
        SELECT * FROM tasker_workflow_steps s WHERE s.workflow_step_id = f.workflow_step_id OFFSET 0
    ) s
    WHERE f.to_state = 'error' AND f.most_recent AND coalesce((
        SELECT m.to_state FROM tasker_task_transitions m WHERE m.task_id = s.task_id AND m.most_recent
    ), 'pending') IN ('pending', 'in_progress')
), ended AS MATERIALIZED (
    SELECT r.task_id, r.to_state, r.created_at FROM tasker_task_transitions r
    WHERE r.created_at >= {_SINCE} AND r.to_state IN ('complete', 'resolved_manually', 'error')
), recent AS MATERIALIZED (
    SELECT r.workflow_step_id, r.to_state, r.sort_key, r.most_recent FROM tasker_workflow_step_transitions r
    WHERE r.created_at >= {_SINCE} AND r.to_state IN ('complete', 'resolved_manually', 'error')
)
SELECT tasks_by_state, steps_by_state, retries.*, ended_tasks.*, times.*, settled.*,
    (SELECT count(DISTINCT e.task_id) FROM failed e WHERE {_FOR_GOOD.format(s="e")} AND NOT EXISTS (
        SELECT FROM tasker_workflow_steps s
        LEFT JOIN tasker_workflow_step_transitions m ON m.workflow_step_id = s.workflow_step_id AND m.most_recent
        WHERE s.task_id = e.task_id AND (m.to_state = 'in_progress'
            OR m.to_state = 'error' AND {_RETRYABLE.format(s="s")}
            OR coalesce(m.to_state, 'pending') = 'pending' AND NOT EXISTS (
                SELECT FROM tasker_workflow_step_edges g LEFT JOIN tasker_workflow_step_transitions p
                    ON p.workflow_step_id = g.from_step_id AND p.most_recent
                WHERE g.to_step_id = s.workflow_step_id AND coalesce(p.to_state, 'pending') NOT IN {_DONE}))
        OFFSET 0
    )) AS blocked,
    (SELECT count(*) FROM tasker_task_transitions m, moment WHERE m.most_recent AND m.to_state = 'in_progress'
        AND m.created_at < stuck_before AND coalesce((
            SELECT max(r.created_at)
            FROM tasker_workflow_steps s JOIN tasker_workflow_step_transitions r USING (workflow_step_id)
            WHERE s.task_id = m.task_id
        ) < stuck_before, true)) AS stuck,
    (SELECT floor(extract(epoch FROM now_utc - t.created_at)) FROM by_state b
        JOIN tasker_tasks t ON t.task_id = b.first_id, moment WHERE b.state = 'pending') AS oldest_pending_seconds
FROM (SELECT json_object_agg(state, tasks) AS tasks_by_state FROM by_state) t
CROSS JOIN (
    SELECT json_object_agg(state, steps) FILTER (WHERE steps > 0) AS steps_by_state FROM (
        SELECT state, sum(steps) AS steps FROM (
            SELECT * FROM by_step UNION ALL SELECT 'pending', -steps FROM by_step
            UNION ALL SELECT 'pending', count(*) FROM tasker_workflow_steps
        ) counted GROUP BY 1
    ) steps
) s
CROSS JOIN (
    SELECT count(*) AS retry_queue, count(*) FILTER (WHERE now_utc < greatest(
        e.last_attempted_at + e.backoff_request_seconds * interval '1 second',
        e.failed_at + least(2 ^ least(coalesce(e.attempts, 0), 10), 30) * interval '1 second')) AS in_backoff
    FROM failed e, moment WHERE {_RETRYABLE.format(s="e")}
) retries
CROSS JOIN (
    SELECT count(*) FILTER (WHERE e.to_state <> 'error') AS window_completed,
        count(*) FILTER (WHERE e.to_state = 'error') AS window_failed,
        count(*) FILTER (WHERE e.to_state = 'complete' AND e.created_at >= t.created_at) AS timed_tasks,
        sum(floor(extract(epoch FROM e.created_at - t.created_at) * 1000 + 0.5))
            FILTER (WHERE e.to_state = 'complete' AND e.created_at >= t.created_at) AS task_ms
    FROM ended e JOIN tasker_tasks t USING (task_id)
) ended_tasks
CROSS JOIN (
    SELECT count(ran.ms) AS timed_steps, sum(ran.ms) AS step_ms FROM recent r CROSS JOIN LATERAL (
        SELECT sum(greatest(0, extract(epoch FROM ended_at - created_at) * 1000)) AS ms FROM (
            SELECT b.to_state, b.created_at, lead(b.created_at) OVER (ORDER BY b.sort_key) AS ended_at
            FROM tasker_workflow_step_transitions b
            WHERE b.workflow_step_id = r.workflow_step_id AND b.sort_key <= r.sort_key
        ) path WHERE path.to_state = 'in_progress'
    ) ran WHERE r.to_state = 'complete'
) times
CROSS JOIN (
    SELECT count(*) AS retries_settled, count(*) FILTER (WHERE r.to_state = 'complete') AS retries_succeeded
    FROM recent r JOIN tasker_workflow_steps s USING (workflow_step_id)
    WHERE r.most_recent AND (r.to_state <> 'error' OR {_FOR_GOOD.format(s="s")}) AND EXISTS (
        SELECT FROM tasker_workflow_step_transitions b
        WHERE b.workflow_step_id = r.workflow_step_id AND b.sort_key < r.sort_key AND b.to_state = 'error')
) settled
"""


def full(connection: Any) -> dict[str, Any]:
    """Return every figure by name, from one query over everything."""
    return _asked(connection, FULL)


def counts(connection: Any) -> dict[str, Any]:
    """Return what the original's query counts."""
    return _asked(connection, COUNTS)


def _asked(connection: Any, query: str) -> dict[str, Any]:
    cursor = connection.execute(query)
    row = dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))
    return {name: json.loads(value) if isinstance(value, str) else value for name, value in row.items()}
