"""What is asked of Tasker's tables. `docs/engines/tasker.md` says what each figure means.

Names in braces are the tables. `:low_*` are the ids up to which the tally has everything, `:settled_*` those up to
which nothing new can appear: rows between them are taken in for good, rows above are looked at again next time.
Times are seconds since the epoch; the columns are UTC without a time zone, so no session's zone touches them.
"""

from __future__ import annotations

TABLES = {
    "tasks": ("tasker_tasks", "task_id"),
    "steps": ("tasker_workflow_steps", "workflow_step_id"),
    "task_transitions": ("tasker_task_transitions", "id"),
    "step_transitions": ("tasker_workflow_step_transitions", "id"),
}
"""The tables that are counted, and the column of their id."""

OTHER_TABLES = {
    "edges": "tasker_workflow_step_edges",
    "named_tasks": "tasker_named_tasks",
    "namespaces": "tasker_task_namespaces",
    "migrations": "schema_migrations",
}

# The planner takes an index for as dear as a disk's seek and would read a whole history to spare a few thousand.
# A poll takes no workers from the application, and is over before a compilation would pay.
POLL = (
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off"
)

SNAPSHOT = (
    "COMMIT; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}; SET LOCAL TIME ZONE 'UTC';"
)

# Any lock that a writer may hold; that of autovacuum, which writes no rows, is weaker.
WRITERS = """
SELECT DISTINCT virtualtransaction FROM pg_catalog.pg_locks
WHERE locktype = 'relation' AND relation = ANY(:written) AND virtualtransaction IS NOT NULL
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""

# A state before is the one that was recorded, or that of the transition before, or pending: who has none is pending.
_BEFORE = """coalesce(t.from_state, (
        SELECT p.to_state FROM {{{table}}} p WHERE p.{entity} = t.{entity} AND p.sort_key < t.sort_key
        ORDER BY p.sort_key DESC LIMIT 1
    ), 'pending')"""
_TASK_BEFORE = _BEFORE.format(table="task_transitions", entity="task_id")
_STEP_BEFORE = _BEFORE.format(table="step_transitions", entity="workflow_step_id")


# Whether it is the first of its entity; one after another state than pending is not.
_FIRST = """coalesce(t.from_state, 'pending') = 'pending' AND NOT EXISTS (
        SELECT 1 FROM {{{table}}} p WHERE p.{entity} = t.{entity} AND p.sort_key < t.sort_key
    )"""
_TASK_FIRST = _FIRST.format(table="task_transitions", entity="task_id")
_STEP_FIRST = _FIRST.format(table="step_transitions", entity="workflow_step_id")


def _moves(group: str, new_group: str) -> str:
    return f"""
SELECT 'tasks' AS kind, task_id > :settled_tasks AS open, {new_group} AS grp, NULL AS before, NULL AS after,
    false AS first, count(*) AS number
FROM {{tasks}} k WHERE task_id > :low_tasks GROUP BY 2, 3
UNION ALL
SELECT 'task_transitions', id > :settled_task_transitions, {group}, {_TASK_BEFORE}, to_state, {_TASK_FIRST}, count(*)
FROM {{task_transitions}} t WHERE id > :low_task_transitions GROUP BY 2, 3, 4, 5, 6
UNION ALL
SELECT 'steps', workflow_step_id > :settled_steps, NULL, NULL, NULL, false, count(*)
FROM {{steps}} WHERE workflow_step_id > :low_steps GROUP BY 2
UNION ALL
SELECT 'step_transitions', id > :settled_step_transitions, NULL, {_STEP_BEFORE}, to_state, {_STEP_FIRST}, count(*)
FROM {{step_transitions}} t WHERE id > :low_step_transitions GROUP BY 2, 4, 5, 6
"""


MOVES = _moves("NULL::bigint", "NULL::bigint")
MOVES_BY_GROUP = _moves("(SELECT g.named_task_id FROM {tasks} g WHERE g.task_id = t.task_id)", "k.named_task_id")


def _bucket(row: str) -> str:
    return f"floor(extract(epoch FROM {row}.created_at)::float8 / :width)::bigint"


_MS = "floor(extract(epoch FROM ({later} - {earlier})) * 1000 + 0.5)::bigint"
_TASK_MS = _MS.format(later="t.created_at", earlier="k.created_at")
_IS_TIMED = "t.to_state = 'complete' AND t.created_at >= k.created_at"

# Said of the column itself, so that an index of the owner's can be used.
_RECENT = "{row}.created_at >= to_timestamp(:first * :width) AT TIME ZONE 'UTC'"


def _ended_tasks(which: str) -> str:
    """Return the tasks that ended in the window, by bucket and whether it is settled, of the rows that are meant."""
    return f"""
SELECT t.id > :settled_task_transitions AS open, {_bucket("t")} AS bucket,
    count(*) FILTER (WHERE t.to_state <> 'error') AS completed,
    count(*) FILTER (WHERE t.to_state = 'error') AS failed,
    count(*) FILTER (WHERE {_IS_TIMED}) AS timed,
    coalesce(sum({_TASK_MS}) FILTER (WHERE {_IS_TIMED}), 0)::bigint AS ms
FROM {{task_transitions}} t JOIN {{tasks}} k ON k.task_id = t.task_id
WHERE {which} AND t.to_state IN ('complete', 'resolved_manually', 'error') AND {_bucket("t")} >= :first
GROUP BY 1, 2
"""


ENDED_TASKS = _ended_tasks("t.id > :low_task_transitions")
ALL_ENDED_TASKS = _ended_tasks(_RECENT.format(row="t"))

_FINAL = "(coalesce(s.attempts, 0) >= coalesce(s.retry_limit, 3) OR s.retryable IS FALSE)"


def _ended_steps(touched: str, which: str) -> str:
    """Return what became of the steps that are *touched*, from the history of each, which is read once.

    Two kinds of rows: the steps that completed in the window, by bucket, with the time that they were in progress in
    all attempts (waiting and backoff are left out); and the steps themselves by how they have settled after a failure,
    or not. `waiting`: failed again, and not for good.
    """
    return f"""
WITH touched AS MATERIALIZED ({touched}), history AS MATERIALIZED (
    SELECT i.*, sum(i.attempt) OVER earlier AS took, bool_or(i.to_state = 'error') OVER earlier AS failed
    FROM (
        SELECT h.id, h.workflow_step_id, h.sort_key, h.to_state, h.created_at, h.most_recent,
            CASE WHEN h.to_state = 'in_progress' THEN greatest(interval '0', lead(h.created_at) OVER (
                PARTITION BY h.workflow_step_id ORDER BY h.sort_key
            ) - h.created_at) END AS attempt
        FROM touched JOIN {{step_transitions}} h ON h.workflow_step_id = touched.workflow_step_id
    ) i
    WINDOW earlier AS (
        PARTITION BY i.workflow_step_id ORDER BY i.sort_key ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
), now AS (
    SELECT t.workflow_step_id, extract(epoch FROM t.created_at)::float8 AS at,
        CASE WHEN NOT coalesce(t.failed, false) OR {_bucket("t")} < :first THEN NULL
            WHEN t.to_state IN ('complete', 'resolved_manually') THEN t.to_state
            WHEN t.to_state = 'error' THEN (
                SELECT CASE WHEN {_FINAL} THEN 'error' ELSE 'waiting' END
                FROM {{steps}} s WHERE s.workflow_step_id = t.workflow_step_id
            )
        END AS settled
    FROM history t WHERE t.most_recent
)
SELECT t.id > :settled_step_transitions AS open, {_bucket("t")} AS bucket, count(t.took) AS timed,
    coalesce(sum(floor(extract(epoch FROM t.took) * 1000 + 0.5)), 0)::bigint AS ms,
    NULL AS settled, NULL::bigint[] AS ids, NULL::float8[] AS at
FROM history t WHERE {which} AND t.to_state = 'complete' AND {_bucket("t")} >= :first GROUP BY 1, 2
UNION ALL
SELECT NULL, NULL, NULL, NULL, settled, array_agg(workflow_step_id), array_agg(at) FROM now GROUP BY settled
"""


# Those that something has happened to, and those whose failure is not the first and may become final, or be so no
# more, without a transition.
ENDED_STEPS = _ended_steps(
    "SELECT unnest(CAST(:known AS bigint[])) AS workflow_step_id UNION"
    " SELECT workflow_step_id FROM {step_transitions} WHERE id > :low_step_transitions",
    "t.id > :low_step_transitions",
)
ALL_ENDED_STEPS = _ended_steps(
    f"SELECT DISTINCT t.workflow_step_id FROM {{step_transitions}} t WHERE {_RECENT.format(row='t')}", "true"
)

_LAST_CHANGE = """extract(epoch FROM greatest(n.created_at, (
    SELECT max(h.created_at) FROM {steps} s JOIN {step_transitions} h ON h.workflow_step_id = s.workflow_step_id
    WHERE s.task_id = n.task_id
)))::float8"""

# By whether it is in progress: the tasks that something has happened to, and when each has last changed.
RUNNING = f"""
WITH touched AS MATERIALIZED (
    SELECT task_id FROM {{task_transitions}} WHERE id > :low_task_transitions
    UNION
    SELECT s.task_id FROM (
        SELECT DISTINCT workflow_step_id FROM {{step_transitions}} WHERE id > :low_step_transitions
    ) t JOIN {{steps}} s ON s.workflow_step_id = t.workflow_step_id
), now AS (
    SELECT touched.task_id, CASE WHEN n.to_state = 'in_progress' THEN {_LAST_CHANGE} END AS last
    FROM touched LEFT JOIN {{task_transitions}} n ON n.task_id = touched.task_id AND n.most_recent
)
SELECT last IS NOT NULL AS running, array_agg(task_id) AS ids, array_agg(last) AS last FROM now GROUP BY 1
"""
ALL_RUNNING = f"""
SELECT n.task_id, {_LAST_CHANGE} AS last FROM {{task_transitions}} n WHERE n.most_recent AND n.to_state = 'in_progress'
"""

_WAITS = f"(NOT {_FINAL} AND s.processed IS NOT TRUE AND s.in_process IS NOT TRUE)"
# 2 to the 5th is more than 30 already: a higher power would only overflow.
_DUE = """extract(epoch FROM greatest(
    n.created_at + least(power(2, least(coalesce(s.attempts, 0), 5)), 30) * interval '1 second',
    s.last_attempted_at + s.backoff_request_seconds * interval '1 second'
))::float8"""
_ALIVE = "('pending', 'in_progress')"
_FAILING = f"""
SELECT s.workflow_step_id AS step_id, s.task_id, {_FINAL} AS final, {_WAITS} AS waits, {_DUE} AS due
FROM {{step_transitions}} n JOIN {{steps}} s ON s.workflow_step_id = n.workflow_step_id
    LEFT JOIN {{task_transitions}} k ON k.task_id = s.task_id AND k.most_recent
WHERE n.most_recent AND n.to_state = 'error' AND (k.to_state IS NULL OR k.to_state IN {_ALIVE})
"""
# Those that were failing before, those that have failed since, and all of the tasks that have come alive again.
FAILING = f"""
WITH asked AS MATERIALIZED (
    SELECT unnest(CAST(:known AS bigint[])) AS workflow_step_id
    UNION
    SELECT workflow_step_id FROM {{step_transitions}} WHERE id > :low_step_transitions AND to_state = 'error'
    UNION
    SELECT s.workflow_step_id FROM {{task_transitions}} t JOIN {{steps}} s ON s.task_id = t.task_id
    WHERE t.id > :low_task_transitions AND t.to_state IN {_ALIVE}
        AND coalesce(t.from_state, '') NOT IN {_ALIVE}
)
{_FAILING} AND n.workflow_step_id IN (SELECT workflow_step_id FROM asked)
"""
ALL_FAILING = _FAILING

# Of the tasks with a step that has failed for good: those of which no step can move.
BLOCKED = f"""
SELECT b.task_id FROM unnest(CAST(:tasks AS bigint[])) AS b(task_id) WHERE NOT EXISTS (
    SELECT 1 FROM {{steps}} s
        LEFT JOIN {{step_transitions}} n ON n.workflow_step_id = s.workflow_step_id AND n.most_recent
    WHERE s.task_id = b.task_id AND (
        n.to_state = 'in_progress'
        OR (n.to_state = 'error' AND {_WAITS})
        OR (coalesce(n.to_state, 'pending') = 'pending' AND NOT EXISTS (
            SELECT 1 FROM {{edges}} e
                LEFT JOIN {{step_transitions}} p ON p.workflow_step_id = e.from_step_id AND p.most_recent
            WHERE e.to_step_id = s.workflow_step_id
                AND coalesce(p.to_state, 'pending') NOT IN ('complete', 'resolved_manually')
        ))
    )
)
"""

# One task after the other from the first that may be pending: a join would read them all.
OLDEST_PENDING = """
SELECT k.task_id, extract(epoch FROM k.created_at)::float8 AS created FROM {tasks} k
WHERE k.task_id >= :pending_from AND coalesce((
    SELECT n.to_state FROM {task_transitions} n WHERE n.task_id = k.task_id AND n.most_recent LIMIT 1
), 'pending') = 'pending'
ORDER BY k.task_id LIMIT 1
"""
BACK_TO_PENDING = """
SELECT min(task_id) FROM {task_transitions} WHERE id > :low_task_transitions AND to_state = 'pending'
"""
FIRST_PENDING = """
SELECT min(task_id) FROM (
    SELECT min(task_id) AS task_id FROM {task_transitions} WHERE most_recent AND to_state = 'pending'
    UNION ALL
    SELECT min(k.task_id) FROM {tasks} k
    WHERE NOT EXISTS (SELECT 1 FROM {task_transitions} n WHERE n.task_id = k.task_id AND n.most_recent)
) p
"""

STATES = """
SELECT 'task' AS kind, NULL::bigint AS grp, to_state AS state, count(*) AS number
FROM {task_transitions} WHERE most_recent GROUP BY 3
UNION ALL SELECT 'tasks', NULL, NULL, count(*) FROM {tasks}
UNION ALL SELECT 'step', NULL, to_state, count(*) FROM {step_transitions} WHERE most_recent GROUP BY 3
UNION ALL SELECT 'steps', NULL, NULL, count(*) FROM {steps}
"""
STATES_BY_GROUP = """
SELECT 'task' AS kind, k.named_task_id AS grp, n.to_state AS state, count(*) AS number
FROM {task_transitions} n JOIN {tasks} k ON k.task_id = n.task_id WHERE n.most_recent GROUP BY 2, 3
UNION ALL SELECT 'tasks', named_task_id, NULL, count(*) FROM {tasks} GROUP BY 2
UNION ALL SELECT 'step', NULL, to_state, count(*) FROM {step_transitions} WHERE most_recent GROUP BY 3
UNION ALL SELECT 'steps', NULL, NULL, count(*) FROM {steps}
"""

NAMES = """
SELECT n.named_task_id AS id, n.name AS task, s.name AS namespace
FROM {named_tasks} n LEFT JOIN {namespaces} s ON s.task_namespace_id = n.task_namespace_id
"""
