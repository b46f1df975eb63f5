"""The tables and the function of tasker-core that the source reads, written from what its function answers.

Names and behaviour are those of tasker-core in 2026; of each table only what is read is here.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.sources.tasker_core.queries import STEP_STATES, TASK_STATES

SCHEMA = "tasker"
NAMESPACES = ("shop", "billing")
NAMED_TASKS = {"order": "shop", "refund": "shop", "invoice": "billing"}
REASONS = (
    *("staleness_timeout", "max_retries_exceeded", "dependency_cycle_detected", "worker_unavailable"),
    "manual_dlq",
)

_KEY = "uuid PRIMARY KEY DEFAULT gen_random_uuid()"


def _transitions(table: str, owner: str, states: Sequence[str]) -> str:
    known = ", ".join(f"'{state}'" for state in states)
    return f"""
CREATE TABLE {table} (
    {table.removesuffix("s")}_uuid {_KEY}, {owner} uuid NOT NULL,
    to_state varchar NOT NULL CHECK (to_state IN ({known})), from_state varchar, sort_key integer NOT NULL,
    most_recent boolean NOT NULL DEFAULT false, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX ON {table} ({owner}, most_recent) WHERE most_recent;
"""


def ddl() -> str:
    """Return what makes the tables in the schema that is searched first."""
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    return f"""
CREATE TYPE dlq_reason AS ENUM ({reasons});
CREATE TYPE dlq_resolution_status AS ENUM ('pending', 'manually_resolved', 'permanently_failed', 'cancelled');
CREATE TABLE task_namespaces (task_namespace_uuid {_KEY}, name varchar(64) NOT NULL UNIQUE);
CREATE TABLE named_tasks (
    named_task_uuid {_KEY}, task_namespace_uuid uuid NOT NULL, name varchar(64) NOT NULL,
    version varchar(16) NOT NULL DEFAULT '0.1.0'
);
CREATE TABLE tasks (
    task_uuid {_KEY}, named_task_uuid uuid NOT NULL, complete boolean NOT NULL DEFAULT false,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);
CREATE TABLE workflow_steps (
    workflow_step_uuid {_KEY}, task_uuid uuid NOT NULL, attempts integer, last_attempted_at timestamp,
    backoff_request_seconds integer
);
{_transitions("task_transitions", "task_uuid", TASK_STATES)}
{_transitions("workflow_step_transitions", "workflow_step_uuid", STEP_STATES)}
CREATE TABLE tasks_dlq (
    dlq_entry_uuid {_KEY}, task_uuid uuid NOT NULL, dlq_reason dlq_reason NOT NULL,
    resolution_status dlq_resolution_status NOT NULL DEFAULT 'pending'
);
CREATE TABLE workflow_step_result_audit (
    workflow_step_result_audit_uuid {_KEY}, workflow_step_uuid uuid NOT NULL, success boolean NOT NULL,
    execution_time_ms bigint, recorded_at timestamp(6) NOT NULL
);
INSERT INTO task_namespaces (name) VALUES {", ".join(f"('{name}')" for name in NAMESPACES)};
INSERT INTO named_tasks (name, task_namespace_uuid) SELECT n.name, s.task_namespace_uuid
FROM (VALUES {", ".join(f"('{name}', '{space}')" for name, space in NAMED_TASKS.items())}) n (name, space)
JOIN task_namespaces s ON s.name = n.space;
"""


def function(more: Sequence[str] = (), fewer: int = 0) -> str:
    """Return what makes the function; with *more* columns it is of a version to come, with *fewer* of an old one."""
    parts, columns = [], []
    for kind, states in (("task", TASK_STATES), ("workflow_step", STEP_STATES)):
        of = kind.rpartition("_")[2]
        counts = [f"count(*) FILTER (WHERE t.to_state = '{state}')" for state in states]
        columns += [f"{state}_{of}s" for state in (*states, "total")]
        parts.append(
            f"(SELECT {', '.join([*counts, 'count(*)'])} FROM {kind}s e"
            f" LEFT JOIN {kind}_transitions t ON t.{kind}_uuid = e.{kind}_uuid AND t.most_recent)"
        )
    columns = [*columns[: len(columns) - fewer], *more]
    told = ", ".join(f"{column} bigint" for column in columns)
    body = f"SELECT * FROM {parts[0]} a, {parts[1]} b" if len(columns) == len(TASK_STATES + STEP_STATES) + 2 else ""
    body = body or f"SELECT {', '.join(['0::bigint'] * len(columns))}"
    return (
        f"CREATE FUNCTION {SCHEMA}.get_system_health_counts() RETURNS TABLE ({told}) LANGUAGE plpgsql"
        f" AS $$ BEGIN RETURN QUERY {body}; END $$"
    )
