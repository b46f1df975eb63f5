"""What is asked of DBOS' tables about what is alive, as SQL for SQLite and PostgreSQL alike; see `queries.py`.

The conditions of DBOS' partial indexes are repeated word for word. Times are milliseconds since the epoch.
"""

from __future__ import annotations

_IN_FLIGHT = "status IN ('ENQUEUED', 'PENDING')"
_SINCE = "{greatest}(created_at, coalesce(updated_at, 0), coalesce(delay_until_epoch_ms, 0))"

WAITING = f"""
SELECT queue, version, count(*) AS number, min(since) AS first, count(CASE WHEN since < :old THEN 1 END) AS old,
    min(CASE WHEN since >= :old THEN since END) AS next_old
FROM (
    SELECT nullif(queue_name, '') AS queue, nullif(application_version, '') AS version, {_SINCE} AS since
    FROM {{workflow_status}} WHERE {_IN_FLIGHT} AND status = 'ENQUEUED'
) enqueued GROUP BY queue, version
"""
NAMED = f"""
SELECT id, name, queue, version, since FROM (
    SELECT workflow_uuid AS id, name, queue_name AS queue, application_version AS version, {_SINCE} AS since
    FROM {{workflow_status}}
    WHERE {_IN_FLIGHT} AND status = 'ENQUEUED' AND coalesce(queue_name, '') = :queue
        AND coalesce(application_version, '') = :version
) enqueued WHERE since < :old ORDER BY since, id LIMIT :most
"""
RUNNING = """
SELECT workflow_uuid AS id, name, queue_name AS queue, application_version AS version, executor_id AS worker,
    coalesce(started_at_epoch_ms, created_at) AS since,
    {greatest}(created_at, coalesce(updated_at, 0), coalesce(started_at_epoch_ms, 0)) AS changed
FROM {workflow_status} WHERE status = 'PENDING'
"""

MAY_READ_QUEUES = "SELECT coalesce(has_table_privilege(to_regclass(:queues), 'SELECT'), false) AS may"
# A queue with partitions has its limit for each of them, which is not looked at here.
LIMITS = "SELECT name, concurrency FROM {queues} WHERE concurrency IS NOT NULL AND NOT partition_queue"

LENGTHS = """
SELECT name, completed_at - coalesce(started_at_epoch_ms, created_at) AS took FROM {workflow_status}
WHERE completed_at >= :since AND status || '' = 'SUCCESS' ORDER BY completed_at DESC LIMIT :most
"""

_IS_DEAD_LETTER = (
    "status IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') AND status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'"
)
DEAD_LETTERS = f"SELECT count(*) AS number FROM {{workflow_status}} WHERE {_IS_DEAD_LETTER}"
NAMED_DEAD_LETTERS = f"""
SELECT workflow_uuid AS id, name, queue_name AS queue, application_version AS version, executor_id AS worker,
    coalesce(completed_at, updated_at) AS since
FROM {{workflow_status}} WHERE {_IS_DEAD_LETTER} ORDER BY created_at DESC LIMIT :most
"""

# What was accepted and what has ended, by minutes. `is_open`: above the keys below which nothing new can appear.
_RECENT = """
SELECT 'arrived' AS kind, w.{task_key} >= :tasks_to AS is_open, w.created_at / 60000 AS minute, NULL AS name,
    NULL AS queue, NULL AS version, count(*) AS number, 0 AS completed, 0 AS failed
FROM {workflow_status} w WHERE {chosen} GROUP BY 2, 3
UNION ALL
SELECT 'ended', completed_at >= :ended_to, completed_at / 60000, name, queue_name, application_version, count(*),
    count(CASE WHEN status = 'SUCCESS' THEN 1 END), count(CASE WHEN status NOT IN ('SUCCESS', 'CANCELLED') THEN 1 END)
FROM {workflow_status}
WHERE completed_at >= :ended_from AND completed_at >= :since
    AND status IN ('SUCCESS', 'ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'CANCELLED')
GROUP BY 2, 3, 4, 5, 6
"""
RECENT = _RECENT.replace("{chosen}", "w.{task_key} >= :tasks_from AND w.created_at + 0 >= :since")
ALL_RECENT = _RECENT.replace("{chosen}", "w.created_at >= :since")
