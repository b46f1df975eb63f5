"""What is asked of Tasker's tables of what happened lately, and of tasks that stand still; see `queries.py`."""

from __future__ import annotations

_MINUTE = "floor(extract(epoch FROM {row}.created_at)::float8 / 60)::bigint"
_SINCE = "{row}.created_at >= to_timestamp(:since) AT TIME ZONE 'UTC'"

# What was accepted and what has ended by minutes, and whether it is settled, of the rows that are meant.
_LATELY = f"""
SELECT 'arrived' AS kind, k.task_id > :settled_tasks AS open, {_MINUTE.format(row="k")} AS minute, NULL::text AS name,
    NULL AS queue, NULL AS version, count(*) AS number, 0 AS completed, 0 AS failed
FROM {{tasks}} k WHERE {{new_tasks}} AND {_SINCE.format(row="k")} GROUP BY 2, 3
UNION ALL
SELECT 'ended', t.id > :settled_task_transitions, {_MINUTE.format(row="t")}, k.named_task_id::text, NULL, NULL,
    count(*), count(*) FILTER (WHERE t.to_state IN ('complete', 'resolved_manually')),
    count(*) FILTER (WHERE t.to_state = 'error')
FROM {{task_transitions}} t JOIN {{tasks}} k ON k.task_id = t.task_id
WHERE {{new_transitions}} AND t.to_state IN ('complete', 'resolved_manually', 'error', 'cancelled')
    AND {_SINCE.format(row="t")}
GROUP BY 2, 3, 4
"""
LATELY = _LATELY.replace("{new_tasks}", "k.task_id > :low_tasks").replace(
    "{new_transitions}", "t.id > :low_task_transitions"
)
ALL_LATELY = _LATELY.replace("{new_tasks}", "true").replace("{new_transitions}", "true")

NAMED = """
SELECT k.task_id, t.name, coalesce(n.to_state, 'pending') AS state,
    extract(epoch FROM coalesce(n.created_at, k.created_at))::float8 AS changed
FROM unnest(CAST(:tasks AS bigint[])) AS i(task_id) JOIN {tasks} k ON k.task_id = i.task_id
    LEFT JOIN {task_transitions} n ON n.task_id = k.task_id AND n.most_recent
    LEFT JOIN {named_tasks} t ON t.named_task_id = k.named_task_id
"""
