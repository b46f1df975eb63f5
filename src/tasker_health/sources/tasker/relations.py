"""Tasker's tables as they are found: their names, their ids, and by what it shows that somebody has changed them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.errors import SourceFault
from tasker_health.model import Connections, Reason
from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.queries import OTHER_TABLES, TABLES, WRITERS

KNOWN_VERSIONS = (20250701165431, 20250710110830)
"""Newest versions in `schema_migrations` whose tables are known here."""

_TRANSITIONS = (2, 3)
"""Places of the transitions in `Ids`."""

_STEPS = 1
"""Place of the steps."""

_LOOK_UP_SECONDS = 300.0


class Print(NamedTuple):
    """What is another one when rows were changed otherwise than by new rows and transitions.

    Attributes:
        server: When the server was started: after a restart or a failover its statistics begin anew.
        files: Object id and file of each table: another one after DROP, TRUNCATE, VACUUM FULL and a restore.
        deleted: Rows deleted of each table, as the server has counted them so far.
    """

    server: float
    files: tuple[tuple[int, int], ...]
    deleted: tuple[int, ...]


class Statistics(NamedTuple):
    """How many rows were changed, as the server has counted them so far: late, and of transactions rolled back too.

    Attributes:
        balance: Updates of transitions less insertions of them.
        inserted: Insertions into all four tables.
        steps_updated: Updates of steps.
        edges_changed: Changes of edges.
    """

    balance: int
    inserted: int
    steps_updated: int
    edges_changed: int


class Look(NamedTuple):
    """What a poll reads before its snapshot.

    Attributes:
        highest: The highest ids that were handed out.
        writers: Transactions that write to one of the tables, read afterwards.
        seen: By what it shows that the tables were changed.
        counted: What the server has counted of other changes.
        is_standby: Whether writers' transactions cannot be seen on this server.
        orderly: Whether ids are known to be handed out one by one, by sequences without a cache, and by nothing else.
        now: The server's clock, in seconds since the epoch.
        connections: Of the whole server.
    """

    highest: Ids
    writers: frozenset[str]
    seen: Print
    counted: Statistics
    is_standby: bool
    orderly: bool
    now: float
    connections: Connections


class _Sequence(NamedTuple):
    """Where the ids of one table come from.

    Attributes:
        oid: Object id of the sequence; 0: there is none.
        told: Whether this role may read what it has handed out.
        cached: Whether sessions take several ids at once.
    """

    oid: int
    told: bool
    cached: bool


class Relations:
    """The tables in *schema*."""

    def __init__(self, schema: str) -> None:
        quoted = schema.replace('"', '""')
        names = {key: name for key, (name, _) in TABLES.items()} | OTHER_TABLES
        # A colon in a schema's name is not a parameter.
        self._names = {key: f'"{quoted}".{name}'.replace(":", "\\:") for key, name in names.items()}
        self._ids = {key: column for key, (_, column) in TABLES.items()}
        self._regclass = {key: f'"{quoted}".{name}' for key, (name, _) in TABLES.items()}
        self._regclass["edges"] = f'"{quoted}".{OTHER_TABLES["edges"]}'
        self._made: dict[str, tuple[sa.TextClause, tuple[str, ...]]] = {}
        self._sequences: tuple[_Sequence, ...] = ()
        self._look = ""
        self._looked_up_at = -math.inf

    def rows(self, connection: sa.Connection, query: str, **values: Any) -> list[Any]:
        """Return the rows that *query* answers; of *values* it takes what it names."""
        if query not in self._made:
            statement = sa.text(query.format(**self._names))
            self._made[query] = statement, tuple(statement.compile().params)
        statement, wanted = self._made[query]
        return list(connection.execute(statement, {name: values[name] for name in wanted}))

    def look(self, connection: sa.Connection) -> Look:
        """Return what must be read before a snapshot, in statements of their own: the ids, then the writers.

        Raises:
            SourceFault: The tables are of a version that is not known.
        """
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        if time.monotonic() - self._looked_up_at > _LOOK_UP_SECONDS:
            self._look_up(connection)
        try:
            found = self.rows(connection, self._look, **self._regclass)[0]
        except sa.exc.DBAPIError:
            self._looked_up_at = -math.inf  # a sequence may be another one by now
            raise
        if found.version not in KNOWN_VERSIONS:
            known = ", ".join(map(str, KNOWN_VERSIONS))
            raise SourceFault(
                Reason.UNKNOWN_VERSION, f"schema_migrations says {found.version}, the newest known are {known}"
            )
        writers = self.rows(connection, WRITERS, written=list(found.oids))
        inserted, updated = (sum(counts[i] for i in _TRANSITIONS) for counts in (found.inserted, found.updated))
        active, maximum = int(found.active), found.maximum
        return Look(
            highest=Ids(*map(max, found.visible, found.handed_out)),
            writers=frozenset(row[0] for row in writers),
            seen=Print(found.server, tuple(zip(found.oids, found.files, strict=True)), tuple(found.deleted)),
            counted=Statistics(updated - inserted, sum(found.inserted), found.updated[_STEPS], found.edges_changed),
            is_standby=found.is_standby,
            orderly=self._is_orderly(found.visible, found.handed_out),
            now=found.now,
            connections=Connections(
                active_connections=active,
                maximum_connections=maximum,
                connection_ratio=round(active / maximum, 4),
            ),
        )

    def _is_orderly(self, visible: Sequence[int], handed_out: Sequence[int]) -> bool:
        """Whether each id came from its sequence; of transitions this must be known, for entities no sign will do."""
        for at, sequence in enumerate(self._sequences):
            if not sequence.oid or sequence.cached or (at in _TRANSITIONS and not sequence.told):
                return False
            if sequence.told and visible[at] > handed_out[at]:
                return False
        return True

    def _look_up(self, connection: sa.Connection) -> None:
        """Find the sequences, and what may be read of them: from time to time, for it is what costs most."""
        rows = self.rows(connection, _sequences_of(self._ids), **self._regclass)
        self._sequences = tuple(_Sequence(row.oid or 0, bool(row.told), row.cached is not False) for row in rows)
        self._look = _look_at(self._ids, self._sequences)
        self._looked_up_at = time.monotonic()


def _sequences_of(ids: dict[str, str]) -> str:
    """Return what tells the sequence of each table's ids."""
    names = " UNION ALL ".join(
        f"SELECT {number} AS number, pg_get_serial_sequence(:{key}, '{column}') AS name"
        for number, (key, column) in enumerate(ids.items())
    )
    return (
        "SELECT CAST(CAST(name AS regclass) AS oid)::bigint AS oid, has_sequence_privilege(name, 'SELECT') AS told,"
        " (SELECT seqcache <> 1 FROM pg_catalog.pg_sequence WHERE seqrelid = CAST(name AS regclass)) AS cached"
        f" FROM ({names}) s ORDER BY number"
    )


def _look_at(ids: dict[str, str], sequences: tuple[_Sequence, ...]) -> str:
    """Return one statement that reads what a `Look` needs of every table, but for the writers."""
    tables = [f"CAST(:{key} AS regclass)" for key in ids]
    lists = {
        # What the sequence has handed out tells more than the rows do, to those who may read it.
        "visible": [f"coalesce((SELECT max({column}) FROM {{{key}}}), 0)" for key, column in ids.items()],
        "handed_out": [
            f"coalesce(pg_sequence_last_value({sequence.oid}), 0)" if sequence.told else "0" for sequence in sequences
        ],
        "oids": [f"CAST(CAST({table} AS oid) AS bigint)" for table in tables],
        "files": [f"CAST(pg_relation_filenode({table}) AS bigint)" for table in tables],
        "deleted": [f"pg_stat_get_tuples_deleted({table})" for table in tables],
        "inserted": [f"pg_stat_get_tuples_inserted({table})" for table in tables],
        "updated": [f"pg_stat_get_tuples_updated({table})" for table in tables],
    }
    columns = [f"ARRAY[{', '.join(values)}] AS {name}" for name, values in lists.items()]
    return (
        "SELECT (SELECT max(CAST(version AS bigint)) FROM {migrations}) AS version,"
        # The edges are read only when there is something that may be blocked; that they are missing is said at once.
        " pg_stat_get_tuples_inserted(CAST(:edges AS regclass)) + pg_stat_get_tuples_updated(CAST(:edges AS regclass))"
        " + pg_stat_get_tuples_deleted(CAST(:edges AS regclass)) AS edges_changed, pg_is_in_recovery() AS is_standby,"
        " CAST(extract(epoch FROM pg_postmaster_start_time()) AS float8) AS server,"
        " CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now,"
        # The cluster's own counters, which every role may read.
        " (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database) AS active,"
        " CAST(current_setting('max_connections') AS integer) AS maximum, " + ", ".join(columns)
    )
