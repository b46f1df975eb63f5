"""What is asked of tasker-core's tables. `docs/engines/tasker-core.md` says what each figure means.

Names in braces are the tables and the function. Times are seconds since the epoch; the columns have no time zone, and
Tasker writes UTC into them.
"""

from __future__ import annotations

TABLES = (
    *("tasks", "named_tasks", "task_namespaces", "task_transitions", "workflow_steps", "workflow_step_transitions"),
    *("tasks_dlq", "workflow_step_result_audit"),
)
FUNCTION = "get_system_health_counts"

PENDING = "pending"
RUNNING = (
    *("initializing", "enqueuing_steps", "steps_in_process", "evaluating_results"),
    *("waiting_for_dependencies", "waiting_for_retry", "blocked_by_failures"),
)
TASK_STATES = (PENDING, *RUNNING, "complete", "error", "cancelled", "resolved_manually")
STEP_STATES = (
    *("pending", "enqueued", "in_progress", "enqueued_for_orchestration", "enqueued_as_error_for_orchestration"),
    *("waiting_for_retry", "complete", "error", "cancelled", "resolved_manually"),
)
COLUMNS = (*(f"{state}_tasks" for state in (*TASK_STATES, "total")), *(f"{s}_steps" for s in (*STEP_STATES, "total")))
"""What the function answers, in the version that is known here."""

_IS_ALIVE = f"IN {(PENDING, *RUNNING)}"

LOOK = (
    "SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now,"
    " (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database) AS active,"
    " CAST(current_setting('max_connections') AS integer) AS maximum,"
    " (SELECT p.proargnames FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    "  WHERE n.nspname = :schema AND p.proname = :function AND p.pronargs = 0) AS columns, "
) + ", ".join(f"CAST(:{name} AS regclass) AS {name}" for name in TABLES)

# The function names the tables without their schema, as Tasker's own sessions find them.
SNAPSHOT = (
    "COMMIT; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}; SET LOCAL TIME ZONE 'UTC';"
    " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL search_path TO {schema}, public"
)

COUNTS = "SELECT * FROM {get_system_health_counts}()"


def _epoch(moment: str) -> str:
    return f"CAST(extract(epoch FROM {moment}) AS float8)"


# As `calculate_step_next_retry_time` has it; 2 to the 6th is more than 60 already.
_DUE = """CASE
    WHEN s.backoff_request_seconds IS NOT NULL AND s.last_attempted_at IS NOT NULL
        THEN s.last_attempted_at + s.backoff_request_seconds * interval '1 second'
    ELSE h.created_at + least(power(2, least(coalesce(s.attempts, 1), 6)), 60) * interval '1 second'
END"""
_ALIVE = f"""
WITH alive AS MATERIALIZED (
    SELECT k.task_uuid, k.named_task_uuid, n.to_state AS state, n.created_at AS since
    FROM {{task_transitions}} n JOIN {{tasks}} k ON k.task_uuid = n.task_uuid
    WHERE n.most_recent AND n.to_state {_IS_ALIVE}
    UNION ALL
    SELECT k.task_uuid, k.named_task_uuid, 'pending', k.created_at FROM {{tasks}} k
    WHERE :stateless > 0 AND NOT EXISTS (
        SELECT 1 FROM {{task_transitions}} n WHERE n.task_uuid = k.task_uuid AND n.most_recent
    )
), told AS (
    SELECT a.task_uuid, a.state, t.name, t.version, p.name AS namespace, {_epoch("a.since")} AS since,
        {
    _epoch(
        '''greatest(a.since, (
            SELECT max(greatest(h.created_at, CASE WHEN h.to_state = 'waiting_for_retry' THEN '''
        + _DUE
        + ''' END))
            FROM {workflow_steps} s JOIN {workflow_step_transitions} h ON h.workflow_step_uuid = s.workflow_step_uuid
            WHERE s.task_uuid = a.task_uuid AND h.most_recent
        ))'''
    )
} AS last,
        (SELECT CAST(d.dlq_reason AS text) FROM {{tasks_dlq}} d
            WHERE d.task_uuid = a.task_uuid AND d.resolution_status = 'pending' LIMIT 1) AS reason
    FROM alive a JOIN {{named_tasks}} t ON t.named_task_uuid = a.named_task_uuid
        JOIN {{task_namespaces}} p ON p.task_namespace_uuid = t.task_namespace_uuid
), standing AS (
    SELECT *, state <> 'pending' AND last < :old AS is_stuck, CASE
        WHEN reason = 'worker_unavailable' THEN 'no_worker'
        WHEN state = 'blocked_by_failures' OR reason = 'max_retries_exceeded' THEN 'retries_exhausted'
        WHEN reason = 'dependency_cycle_detected' THEN 'waiting_for_parent'
        WHEN state = 'pending' AND since < :old THEN 'not_taken'
        WHEN state <> 'pending' AND last < :old THEN 'no_progress'
    END AS cause
    FROM told
)
"""
STANDING = f"""{_ALIVE}
SELECT namespace, state = 'pending' AS pending, cause, count(*) AS number, count(*) FILTER (WHERE is_stuck) AS stuck,
    min(since) AS first
FROM standing GROUP BY 1, 2, 3
"""
NAMED = f"""{_ALIVE}
SELECT CAST(task_uuid AS text) AS id, name, version, namespace, state, cause, since FROM (
    SELECT *, row_number() OVER (PARTITION BY cause ORDER BY since, task_uuid) AS place
    FROM standing WHERE cause IS NOT NULL
) several WHERE place <= :most ORDER BY cause, since, task_uuid
"""
CAUSES = f"{_ALIVE} SELECT cause, count(*) AS number FROM standing WHERE cause IS NOT NULL GROUP BY 1"

RETRIES = f"""
SELECT count(*) AS number, count(*) FILTER (WHERE {_epoch(_DUE)} > :now) AS in_backoff
FROM {{workflow_step_transitions}} h JOIN {{workflow_steps}} s ON s.workflow_step_uuid = h.workflow_step_uuid
    LEFT JOIN {{task_transitions}} k ON k.task_uuid = s.task_uuid AND k.most_recent
WHERE h.most_recent AND h.to_state = 'waiting_for_retry' AND coalesce(k.to_state, 'pending') {_IS_ALIVE}
"""

_IN_WINDOW = "{row}.created_at >= to_timestamp(:since) AT TIME ZONE 'UTC'"
_TIMED = "t.to_state = 'complete' AND t.created_at >= k.created_at"
ENDED = f"""
SELECT CAST(floor({_epoch("t.created_at")} / 60) AS bigint) AS minute, m.name, p.name AS namespace, m.version,
    count(*) AS number, count(*) FILTER (WHERE t.to_state IN ('complete', 'resolved_manually')) AS completed,
    count(*) FILTER (WHERE t.to_state = 'error') AS failed, count(*) FILTER (WHERE {_TIMED}) AS timed,
    CAST(coalesce(sum(floor(extract(epoch FROM t.created_at - k.created_at) * 1000 + 0.5))
        FILTER (WHERE {_TIMED}), 0) AS bigint) AS ms
FROM {{task_transitions}} t JOIN {{tasks}} k ON k.task_uuid = t.task_uuid
    JOIN {{named_tasks}} m ON m.named_task_uuid = k.named_task_uuid
    JOIN {{task_namespaces}} p ON p.task_namespace_uuid = m.task_namespace_uuid
WHERE {_IN_WINDOW.format(row="t")} AND t.to_state IN ('complete', 'resolved_manually', 'error', 'cancelled')
GROUP BY 1, 2, 3, 4
"""
ARRIVED = f"""
SELECT p.name AS namespace, count(*) AS number
FROM {{tasks}} k JOIN {{named_tasks}} m ON m.named_task_uuid = k.named_task_uuid
    JOIN {{task_namespaces}} p ON p.task_namespace_uuid = m.task_namespace_uuid
WHERE {_IN_WINDOW.format(row="k")} GROUP BY 1
"""
STEPS = """
SELECT count(execution_time_ms) AS number, CAST(coalesce(sum(execution_time_ms), 0) AS bigint) AS ms
FROM {workflow_step_result_audit} a
WHERE a.recorded_at >= to_timestamp(:since) AT TIME ZONE 'UTC' AND a.success
"""
