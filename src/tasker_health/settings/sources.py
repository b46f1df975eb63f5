"""The settings of sources: which workflow engines are read, where, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tasker_health.settings.kinds import Count, Group, PositiveSeconds

Kind = Literal["dbos", "tasker", "tasker_core", "procrastinate", "rq"]
"""Each has a module of its name in `sources/`."""


class SourceSettings(Group):
    """A workflow engine whose work the status counts."""

    kind: Kind = Field(description="The engine.")
    url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of its database, of rq redis://; unset: database.url."
    )
    schema_name: str | None = Field(
        None,
        min_length=1,
        alias="schema",
        description="PostgreSQL schema of its tables; unset: the engine's own, or public.",
    )
    attempts_recorded: bool = Field(
        True,
        description="Every attempt is a step of its own; false where steps use DBOS' built-in retries,"
        " which leave no trace: the retry figures are then null.",
    )
    breakdown: Literal["none", "namespaces", "named_tasks"] = Field(
        "none", description="tasker: count tasks by namespace or by name, too."
    )
    most_groups: Count = Field(20, le=1000, description="tasker: so many of them are told apart, the rest is `other`.")
    full_count_timeout_seconds: PositiveSeconds = Field(
        300, description="Longest time of counting everything, at the start and where a tally cannot be kept."
    )
    checkpoint_file: str | None = Field(
        None, description="tasker: file in which the tally waits over a restart; unset: everything is counted again."
    )
    verify: bool = Field(True, description="tasker: count everything from time to time, and compare.")
