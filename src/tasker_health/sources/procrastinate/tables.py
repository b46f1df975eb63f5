"""Procrastinate's tables as they are found: which version they are of, and what is settled in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.errors import SourceFault
from tasker_health.model import Connections, Reason
from tasker_health.sources.procrastinate import queries

TABLES = {"jobs": "procrastinate_jobs", "events": "procrastinate_events", "workers": "procrastinate_workers"}

NEWEST_FETCH = 2
"""Of the functions `procrastinate_fetch_job_v<n>`; which jobs may be taken is what it says."""

_WORDS = {
    "procrastinate_job_status": "todo doing succeeded failed cancelled aborting aborted",
    "procrastinate_job_event_type": "deferred started deferred_for_retry failed succeeded cancelled abort_requested"
    " aborted scheduled retried",
}
_COLUMNS = {
    "jobs": "id queue_name task_name priority lock queueing_lock status scheduled_at attempts abort_requested"
    " worker_id",
    "events": "id job_id type at",
    "workers": "id last_heartbeat",
}
_TRIGGERS = frozenset(f"procrastinate_trigger_function_status_events_{what}_v1" for what in ("insert", "update"))
_FETCH = re.compile(r"procrastinate_fetch_job_v(\d+)")


class Keys(NamedTuple):
    """Ids of a job and of an event: up to them something is known."""

    jobs: int
    events: int


class Look(NamedTuple):
    """What a poll reads before its snapshot.

    Attributes:
        highest: The highest ids that can be seen.
        writers: Transactions that write to one of the tables, read afterwards.
        seen: Another one when rows were deleted, tables replaced, or the server was started anew.
        is_standby: Whether writers' transactions cannot be seen on this server.
        now: The server's clock, in seconds since the epoch.
        connections: Of the whole server.
    """

    highest: Keys
    writers: frozenset[str]
    seen: object
    is_standby: bool
    now: float
    connections: Connections


class Tables:
    """The tables in *schema*."""

    def __init__(self, schema: str) -> None:
        quoted = schema.replace('"', '""')
        self._regclass = {key: f'"{quoted}".{name}' for key, name in TABLES.items()}
        # A colon in a schema's name is not a parameter.
        self._names = {key: name.replace(":", "\\:") for key, name in self._regclass.items()}
        self._made: dict[str, tuple[sa.TextClause, tuple[str, ...]]] = {}

    def rows(self, connection: sa.Connection, query: str, **values: Any) -> list[Any]:
        """Return the rows that *query* answers; of *values* it takes what it names."""
        if query not in self._made:
            statement = sa.text(query.format(**self._names))
            self._made[query] = statement, tuple(statement.compile().params)
        statement, wanted = self._made[query]
        return list(connection.execute(statement, {name: values[name] for name in wanted}))

    def look(self, connection: sa.Connection) -> Look:
        """Return what must be read before a snapshot, in statements of their own: the ids, then the writers.

        An id that can be seen was handed out, and with it all below. So whoever is behind one of those and has not
        ended holds a writer's lock when the writers are read.

        Raises:
            SourceFault: The tables are of a version that is not known.
        """
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        found = self.rows(connection, queries.LOOK, **self._regclass)[0]
        guard_version([tuple(row) for row in self.rows(connection, queries.SCHEMA, **self._regclass)])
        writers = (
            [] if found.is_standby else self.rows(connection, queries.WRITERS, jobs=found.jobs, events=found.events)
        )
        active, maximum = int(found.active), found.maximum
        return Look(
            highest=Keys(found.last_job, found.last_event),
            writers=frozenset(row.name for row in writers),
            seen=(
                *(found.server, found.jobs, found.jobs_file, found.events, found.events_file),
                *(found.jobs_deleted, found.events_deleted),
            ),
            is_standby=found.is_standby,
            now=found.now,
            connections=Connections(
                active_connections=active,
                maximum_connections=maximum,
                connection_ratio=round(active / maximum, 4),
            ),
        )


def guard_version(found: Sequence[tuple[str, str]]) -> None:
    """Go on only if *found*, pairs of a kind and a name, are those of a schema that is known.

    Raises:
        SourceFault: They are not.
    """
    names: dict[str, set[str]] = {}
    for kind, name in found:
        names.setdefault(kind, set()).add(name)
    words = {f"{kind}.{word}" for kind, several in _WORDS.items() for word in several.split()}
    columns = {f"{TABLES[key]}.{column}" for key, several in _COLUMNS.items() for column in several.split()}
    fetches = [int(match[1]) for name in names.get("function", ()) if (match := _FETCH.fullmatch(name))]
    wrong = [
        what
        for what, is_known in (
            ("the words of its states and events", names.get("word", set()) == words),
            ("its columns", columns <= names.get("column", set())),
            ("the triggers that write its events", names.get("trigger", set()) == _TRIGGERS),
            ("the function that fetches jobs", max(fetches, default=0) == NEWEST_FETCH),
        )
        if not is_known
    ]
    if wrong:
        raise SourceFault(
            Reason.UNKNOWN_VERSION, f"Procrastinate's schema is not that of 3.4 to 3.10: {', '.join(wrong)} differ"
        )
