"""The tables of Tasker that the source reads, as Tasker's two migrations leave them; written from issue 5.

What the source must not rely on is left open: columns that may be null are null in some rows of the tests, and no
constraint keeps an unknown state out.
"""

from __future__ import annotations

import sqlalchemy as sa

VERSIONS = ("20250701165431", "20250710110830")
TABLES = (
    *("tasker_task_namespaces", "tasker_named_tasks", "tasker_named_steps", "tasker_tasks", "tasker_workflow_steps"),
    *("tasker_workflow_step_edges", "tasker_task_transitions", "tasker_workflow_step_transitions"),
    "schema_migrations",
)
WORK = (
    *("tasker_tasks", "tasker_workflow_steps", "tasker_workflow_step_edges"),
    *("tasker_task_transitions", "tasker_workflow_step_transitions"),
)
"""The tables whose rows come and go."""

NAMESPACES = {1: "shop", 2: "billing", 3: "reports"}
NAMED_TASKS = {1: ("order", 1), 2: ("refund", 1), 3: ("invoice", 2), 4: ("monthly", 3)}
NAMED_STEPS = {1: "reserve", 2: "charge", 3: "pack", 4: "ship"}

_STAMPS = "created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL"


def _transitions(table: str, owner: str, owners: str) -> str:
    return f"""
CREATE TABLE {table} (
    id bigserial PRIMARY KEY,
    to_state varchar NOT NULL,
    from_state varchar,
    metadata jsonb DEFAULT '{{}}',
    sort_key integer NOT NULL,
    most_recent boolean NOT NULL DEFAULT true,
    {owner} bigint NOT NULL REFERENCES {owners} ({owner}),
    {_STAMPS}
);
CREATE UNIQUE INDEX {table}_most_recent ON {table} ({owner}, most_recent) WHERE most_recent;
CREATE UNIQUE INDEX {table}_sort_key ON {table} ({owner}, sort_key);
"""


DDL = f"""
CREATE TABLE tasker_task_namespaces (
    task_namespace_id serial PRIMARY KEY,
    name varchar(64) NOT NULL UNIQUE,
    description varchar(255),
    {_STAMPS}
);
CREATE TABLE tasker_named_tasks (
    named_task_id serial PRIMARY KEY,
    task_namespace_id integer NOT NULL REFERENCES tasker_task_namespaces (task_namespace_id),
    name varchar(64) NOT NULL,
    version varchar(16) NOT NULL DEFAULT '0.1.0',
    configuration jsonb DEFAULT '{{}}',
    {_STAMPS},
    UNIQUE (task_namespace_id, name, version)
);
CREATE TABLE tasker_named_steps (
    named_step_id serial PRIMARY KEY,
    name varchar(128) NOT NULL UNIQUE,
    description varchar(255),
    {_STAMPS}
);
CREATE TABLE tasker_tasks (
    task_id bigserial PRIMARY KEY,
    named_task_id integer NOT NULL REFERENCES tasker_named_tasks (named_task_id),
    complete boolean NOT NULL DEFAULT false,
    requested_at timestamp(6) NOT NULL,
    context jsonb,
    {_STAMPS}
);
CREATE INDEX tasker_tasks_named_task_id ON tasker_tasks (named_task_id);
CREATE TABLE tasker_workflow_steps (
    workflow_step_id bigserial PRIMARY KEY,
    task_id bigint NOT NULL REFERENCES tasker_tasks (task_id),
    named_step_id integer NOT NULL REFERENCES tasker_named_steps (named_step_id),
    retryable boolean DEFAULT true,
    retry_limit integer DEFAULT 3,
    in_process boolean DEFAULT false,
    processed boolean DEFAULT false,
    processed_at timestamp(6),
    attempts integer,
    last_attempted_at timestamp(6),
    backoff_request_seconds integer,
    inputs jsonb,
    results jsonb,
    {_STAMPS}
);
CREATE INDEX tasker_workflow_steps_task_id ON tasker_workflow_steps (task_id);
CREATE INDEX tasker_workflow_steps_named_step_id ON tasker_workflow_steps (named_step_id);
CREATE TABLE tasker_workflow_step_edges (
    id bigserial PRIMARY KEY,
    from_step_id bigint NOT NULL REFERENCES tasker_workflow_steps (workflow_step_id),
    to_step_id bigint NOT NULL REFERENCES tasker_workflow_steps (workflow_step_id),
    name varchar NOT NULL,
    {_STAMPS}
);
CREATE INDEX tasker_workflow_step_edges_from_step_id ON tasker_workflow_step_edges (from_step_id);
CREATE INDEX tasker_workflow_step_edges_to_step_id ON tasker_workflow_step_edges (to_step_id);
{_transitions("tasker_task_transitions", "task_id", "tasker_tasks")}
{_transitions("tasker_workflow_step_transitions", "workflow_step_id", "tasker_workflow_steps")}
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
"""


def create(connection: sa.Connection, schema: str = "public") -> None:
    """Make the tables in *schema*, which is made too, with the names that tasks and steps go by."""
    quoted = connection.dialect.identifier_preparer.quote(schema)
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {quoted}; SET LOCAL search_path TO {quoted}")
    connection.exec_driver_sql(DDL)
    stamps = {"created_at": sa.func.now(), "updated_at": sa.func.now()}
    rows = {
        "tasker_task_namespaces": [{"task_namespace_id": key, "name": name} for key, name in NAMESPACES.items()],
        "tasker_named_tasks": [
            {"named_task_id": key, "name": name, "task_namespace_id": namespace}
            for key, (name, namespace) in NAMED_TASKS.items()
        ],
        "tasker_named_steps": [{"named_step_id": key, "name": name} for key, name in NAMED_STEPS.items()],
    }
    for table, found in rows.items():
        columns = sa.table(table, *(sa.column(name) for name in (*found[0], *stamps)))
        for row in found:
            connection.execute(sa.insert(columns).values({**row, **stamps}))
    versions = sa.table("schema_migrations", sa.column("version"))
    connection.execute(sa.insert(versions), [{"version": version} for version in VERSIONS])
