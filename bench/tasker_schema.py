"""The tables of Tasker as the benchmarks fill them: bare for the load, then with the engine's indexes and keys.

Of the engine's many indexes one of each kind that a query or a write can use stands here; doubles of them are left out.
"""

from __future__ import annotations

KNOWN_VERSIONS = ("20250701165431", "20250710110830")

_TIMES = "created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL"
_TRANSITION = f"""
    id bigint NOT NULL DEFAULT nextval('{{table}}_id_seq'),
    to_state varchar NOT NULL, from_state varchar, metadata jsonb DEFAULT '{{{{}}}}',
    sort_key integer NOT NULL, most_recent boolean NOT NULL DEFAULT true, {{entity}} bigint NOT NULL, {_TIMES}
"""

TABLES = {
    "schema_migrations": "version varchar NOT NULL PRIMARY KEY",
    "tasker_task_namespaces": f"task_namespace_id integer PRIMARY KEY, name varchar(64) NOT NULL, {_TIMES}",
    "tasker_named_tasks": f"""
        named_task_id integer PRIMARY KEY, name varchar(64) NOT NULL,
        task_namespace_id bigint NOT NULL DEFAULT 1, version varchar(16) NOT NULL DEFAULT '0.1.0', {_TIMES}
    """,
    "tasker_named_steps": f"named_step_id integer PRIMARY KEY, name varchar(128) NOT NULL, {_TIMES}",
    "tasker_tasks": f"""
        task_id bigint NOT NULL DEFAULT nextval('tasker_tasks_task_id_seq'),
        named_task_id integer NOT NULL, complete boolean NOT NULL DEFAULT false, requested_at timestamp NOT NULL,
        initiator varchar(128), source_system varchar(128), reason varchar(128), tags jsonb, context jsonb,
        identity_hash varchar(128) NOT NULL, {_TIMES}
    """,
    "tasker_workflow_steps": f"""
        workflow_step_id bigint NOT NULL DEFAULT nextval('tasker_workflow_steps_workflow_step_id_seq'),
        task_id bigint NOT NULL, named_step_id integer NOT NULL, retryable boolean NOT NULL DEFAULT true,
        retry_limit integer DEFAULT 3, in_process boolean NOT NULL DEFAULT false,
        processed boolean NOT NULL DEFAULT false, processed_at timestamp, attempts integer,
        last_attempted_at timestamp, backoff_request_seconds integer, inputs jsonb, results jsonb,
        {_TIMES}, skippable boolean NOT NULL DEFAULT false
    """,
    "tasker_workflow_step_edges": f"""
        id bigint NOT NULL DEFAULT nextval('tasker_workflow_step_edges_id_seq'),
        from_step_id bigint NOT NULL, to_step_id bigint NOT NULL, name varchar NOT NULL, {_TIMES}
    """,
    "tasker_task_transitions": _TRANSITION.format(table="tasker_task_transitions", entity="task_id"),
    "tasker_workflow_step_transitions": _TRANSITION.format(
        table="tasker_workflow_step_transitions", entity="workflow_step_id"
    ),
}

SEQUENCES = {
    "tasker_tasks": "task_id",
    "tasker_workflow_steps": "workflow_step_id",
    "tasker_workflow_step_edges": "id",
    "tasker_task_transitions": "id",
    "tasker_workflow_step_transitions": "id",
}
"""The column of each table that is numbered by a sequence."""

# The tables with the most rows first: two connections make these at once, each table at one of them.
INDEXES = {
    "tasker_workflow_step_transitions": (
        "ALTER TABLE {table} ADD PRIMARY KEY (id)",
        "CREATE UNIQUE INDEX ON {table} (workflow_step_id, most_recent) WHERE most_recent",
        "CREATE UNIQUE INDEX ON {table} (workflow_step_id, sort_key)",
        "CREATE INDEX ON {table} (workflow_step_id, most_recent, to_state) WHERE most_recent",
        "CREATE INDEX ON {table} (workflow_step_id, created_at)",
        "CREATE INDEX ON {table} (workflow_step_id, most_recent, created_at) WHERE to_state = 'error' AND most_recent",
    ),
    "tasker_workflow_steps": (
        "ALTER TABLE {table} ADD PRIMARY KEY (workflow_step_id)",
        "CREATE INDEX ON {table} (task_id, workflow_step_id)",
        "CREATE INDEX ON {table} (attempts, retry_limit, retryable)",
        "CREATE INDEX ON {table} (task_id, workflow_step_id) WHERE NOT processed",
    ),
    "tasker_workflow_step_edges": (
        "ALTER TABLE {table} ADD PRIMARY KEY (id)",
        "CREATE INDEX ON {table} (from_step_id, to_step_id)",
        "CREATE INDEX ON {table} (to_step_id, from_step_id)",
    ),
    "tasker_task_transitions": (
        "ALTER TABLE {table} ADD PRIMARY KEY (id)",
        "CREATE UNIQUE INDEX ON {table} (task_id, most_recent) WHERE most_recent",
        "CREATE UNIQUE INDEX ON {table} (task_id, sort_key)",
        "CREATE INDEX ON {table} (task_id, created_at)",
    ),
    "tasker_tasks": (
        "ALTER TABLE {table} ADD PRIMARY KEY (task_id)",
        "CREATE INDEX ON {table} (named_task_id)",
        "CREATE INDEX ON {table} (complete, created_at, task_id)",
        "CREATE INDEX ON {table} (task_id) WHERE NOT complete",
    ),
}

# What stands in the tables is not checked; what writers add is, and costs them what it costs the engine.
FOREIGN_KEYS = (
    "ALTER TABLE tasker_workflow_steps ADD FOREIGN KEY (task_id) REFERENCES tasker_tasks NOT VALID",
    "ALTER TABLE tasker_task_transitions ADD FOREIGN KEY (task_id) REFERENCES tasker_tasks NOT VALID",
    (
        "ALTER TABLE tasker_workflow_step_transitions"
        " ADD FOREIGN KEY (workflow_step_id) REFERENCES tasker_workflow_steps NOT VALID"
    ),
    "ALTER TABLE tasker_workflow_step_edges ADD FOREIGN KEY (from_step_id) REFERENCES tasker_workflow_steps NOT VALID",
    "ALTER TABLE tasker_workflow_step_edges ADD FOREIGN KEY (to_step_id) REFERENCES tasker_workflow_steps NOT VALID",
)


def create(table: str) -> list[str]:
    """Return the statements that make *table* and its sequence, without index or key."""
    made = []
    if column := SEQUENCES.get(table):
        made.append(f"CREATE SEQUENCE {table}_{column}_seq")
    made.append(f"CREATE TABLE {table} ({TABLES[table]})")
    if column:
        made.append(f"ALTER SEQUENCE {table}_{column}_seq OWNED BY {table}.{column}")
    return made


def indexes(table: str) -> list[str]:
    """Return the statements that give *table* its keys and indexes."""
    return [statement.format(table=table) for statement in INDEXES.get(table, ())]
