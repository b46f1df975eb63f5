"""What is asked of Procrastinate's tables, as SQL. `docs/engines/procrastinate.md` says what it means.

Names in braces are the tables (`tables.py`). Up to the ids `:events_from` and `:jobs_from` the tally has everything; up
to `:events_to` and `:jobs_to` nothing new can appear: what lies between them is taken in for good, what lies above
(`is_open`) is looked at again next time. Times are seconds since the epoch.
"""

from __future__ import annotations

LOOK = """
SELECT pg_catalog.pg_is_in_recovery() AS is_standby,
    CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now,
    CAST(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS float8) AS server,
    CAST(CAST(:jobs AS regclass) AS oid)::bigint AS jobs, CAST(CAST(:events AS regclass) AS oid)::bigint AS events,
    CAST(pg_catalog.pg_relation_filenode(CAST(:jobs AS regclass)) AS bigint) AS jobs_file,
    CAST(pg_catalog.pg_relation_filenode(CAST(:events AS regclass)) AS bigint) AS events_file,
    pg_catalog.pg_stat_get_tuples_deleted(CAST(:jobs AS regclass)) AS jobs_deleted,
    pg_catalog.pg_stat_get_tuples_deleted(CAST(:events AS regclass)) AS events_deleted,
    CAST(:workers AS regclass) AS workers,
    (SELECT coalesce(max(id), 0) FROM {jobs}) AS last_job, (SELECT coalesce(max(id), 0) FROM {events}) AS last_event,
    (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database) AS active,
    CAST(current_setting('max_connections') AS integer) AS maximum
"""

# A version is known by the words of the two enumerations, the columns that are read, the triggers that write the
# events, and the newest function that fetches a job.
SCHEMA = """
SELECT 'word' AS kind, t.typname || '.' || e.enumlabel AS name
FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
WHERE t.oid IN (SELECT atttypid FROM pg_catalog.pg_attribute
    WHERE attrelid IN (CAST(:jobs AS regclass), CAST(:events AS regclass)))
UNION ALL SELECT 'column', c.relname || '.' || a.attname
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped
    AND a.attrelid IN (CAST(:jobs AS regclass), CAST(:events AS regclass), CAST(:workers AS regclass))
UNION ALL SELECT 'trigger', p.proname FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = CAST(:jobs AS regclass) AND t.tgenabled <> 'D' AND p.proname LIKE '%status\\_events%'
UNION ALL SELECT 'function', p.proname FROM pg_catalog.pg_proc p
WHERE p.proname LIKE 'procrastinate\\_fetch\\_job\\_v%'
    AND p.pronamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = CAST(:jobs AS regclass))
"""

WRITERS = """
SELECT DISTINCT virtualtransaction AS name FROM pg_catalog.pg_locks
WHERE pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND locktype = 'relation' AND relation IN (:jobs, :events)
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""

# The planner takes an index for as dear as a disk's seek and would read a whole history to spare a few thousand.
# A health reading takes no workers from the application, and is over before a compilation would pay.
SNAPSHOT = (
    "COMMIT; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}; SET LOCAL TIME ZONE 'UTC';"
    " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1"
)

NEW_JOBS = "SELECT id > :jobs_to AS is_open, count(*) AS number FROM {jobs} WHERE id > :jobs_from GROUP BY 1"

# Procrastinate calls it `cancelled`, too, when a job that waited was finished as failed or succeeded: its state tells.
# Who was retried by hand had failed.
_EVENTS = """
SELECT is_open, kind, bucket, minute, queue, task, length, count(*) AS number, count(task_s) AS timed_tasks,
    coalesce(sum(round(task_s * 1000)), 0) AS task_ms, count(step_s) AS timed_steps,
    coalesce(sum(round(step_s * 1000)), 0) AS step_ms, count(CASE WHEN again THEN 1 END) AS again
FROM (
    SELECT is_open, kind, queue, task, again, floor(at / :width) AS bucket, floor(at / 60) AS minute, task_s, step_s,
        ceil(20 * ln(greatest(step_s * 1000, 1))) AS length
    FROM (
        SELECT e.id > :events_to AS is_open, k.kind, j.queue_name AS queue, j.task_name AS task, t.at,
            k.kind IN ('succeeded', 'failed', 'aborted') AND EXISTS (
                SELECT 1 FROM {events} f WHERE f.job_id = e.job_id AND f.id < e.id
                    AND f.type IN ('deferred_for_retry', 'retried')
            ) AS again,
            CASE WHEN k.kind = 'succeeded' THEN (
                SELECT CASE WHEN min(d.at) <= e.at THEN t.at - CAST(extract(epoch FROM min(d.at)) AS float8) END
                FROM {events} d WHERE d.job_id = e.job_id AND d.type = 'deferred'
            ) END AS task_s,
            CASE WHEN k.kind = 'succeeded' THEN (
                SELECT CASE WHEN s.at <= e.at THEN t.at - CAST(extract(epoch FROM s.at) AS float8) END
                FROM {events} s WHERE s.job_id = e.job_id AND s.type = 'started' AND s.id < e.id
                ORDER BY s.id DESC LIMIT 1
            ) END AS step_s
        FROM {events} e JOIN {jobs} j ON j.id = e.job_id
        CROSS JOIN LATERAL (SELECT CASE WHEN e.type <> 'cancelled' THEN CAST(e.type AS text)
            WHEN EXISTS (SELECT 1 FROM {events} r WHERE r.job_id = e.job_id AND r.id > e.id AND r.type = 'retried')
                THEN 'failed'
            ELSE CAST(j.status AS text) END AS kind) k
        CROSS JOIN LATERAL (SELECT CAST(extract(epoch FROM e.at) AS float8) AS at) t
        WHERE {chosen} AND e.type IN ('deferred', 'succeeded', 'failed', 'cancelled', 'aborted', 'retried')
    ) each
) measured
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
MOVES = _EVENTS.replace("{chosen}", "e.id > :events_from")
WINDOW = _EVENTS.replace("{chosen}", "e.id <= :events_to AND e.at >= to_timestamp(:since)")

STATES = "SELECT CAST(status AS text) AS status, count(*) AS number FROM {jobs} GROUP BY 1"

_DUE = "(j.scheduled_at IS NULL OR j.scheduled_at <= to_timestamp(:now))"
# As `procrastinate_fetch_job_v2` has it: held by one that runs, or by one that waits with a higher priority or longer.
_TODO = f"""
WITH held AS (SELECT lock FROM {{jobs}} WHERE status = 'doing' AND lock IS NOT NULL),
todo AS MATERIALIZED (
    SELECT j.id, j.queue_name AS queue, j.task_name AS task, j.attempts > 0 AS again, {_DUE} AS due, j.scheduled_at,
        j.lock IS NOT NULL AND (
            row_number() OVER (PARTITION BY j.lock ORDER BY j.priority DESC, j.id) > 1
            OR j.lock IN (SELECT lock FROM held)
        ) AS locked
    FROM {{jobs}} j WHERE j.status = 'todo' AND j.lock IS NOT NULL
    UNION ALL
    SELECT j.id, j.queue_name, j.task_name, j.attempts > 0, {_DUE}, j.scheduled_at, false
    FROM {{jobs}} j WHERE j.status = 'todo' AND j.lock IS NULL
)
"""
WAITING = f"""{_TODO}
SELECT queue, again, due, locked, count(*) AS number, min(id) AS first_id,
    min(CASE WHEN scheduled_at IS NULL THEN id END) AS first_unscheduled,
    CAST(extract(epoch FROM min(scheduled_at)) AS float8) AS first_scheduled,
    count(CASE WHEN scheduled_at < to_timestamp(:old) THEN 1 END) AS old
FROM todo GROUP BY 1, 2, 3, 4
"""
_CREATED = "(SELECT min(d.at) FROM {events} d WHERE d.job_id = todo.id AND d.type = 'deferred')"
# Asked only where the one with the smallest id has been waiting for long.
WAITING_LONG = f"""{_TODO}
SELECT queue, again, due, locked, count(*) AS number FROM todo
WHERE scheduled_at IS NULL AND {_CREATED} < to_timestamp(:old) GROUP BY 1, 2, 3, 4
"""
CREATED = """
SELECT job_id AS id, CAST(extract(epoch FROM min(at)) AS float8) AS at
FROM {events} WHERE job_id = ANY(CAST(:ids AS bigint[])) AND type = 'deferred' GROUP BY 1
"""
RUNNING = """
SELECT j.id, j.queue_name AS queue, j.task_name AS task, j.worker_id AS worker,
    CAST(extract(epoch FROM (SELECT max(s.at) FROM {events} s WHERE s.job_id = j.id AND s.type = 'started')) AS float8)
        AS since
FROM {jobs} j WHERE j.status = 'doing'
"""
WORKERS = "SELECT id, CAST(extract(epoch FROM last_heartbeat) AS float8) AS at FROM {workers}"

_NAMED = f"""{_TODO}
SELECT id, queue, task, again, since FROM (
    SELECT id, queue, task, again, locked, due,
        CAST(extract(epoch FROM coalesce(scheduled_at, {_CREATED})) AS float8) AS since
    FROM todo WHERE due AND {{chosen}}
) named WHERE {{limited}} ORDER BY since NULLS LAST, id LIMIT :most
"""

_UNSERVED = "queue = ANY(CAST(:unserved AS text[]))"
UNSERVED = _NAMED.replace("{chosen}", _UNSERVED).replace("{limited}", "true")
LOCKED = _NAMED.replace("{chosen}", f"locked AND NOT {_UNSERVED}").replace("{limited}", "true")
NOT_TAKEN = _NAMED.replace("{chosen}", f"NOT locked AND NOT {_UNSERVED}").replace("{limited}", "since < :old")
