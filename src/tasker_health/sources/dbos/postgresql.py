"""The moment that a reading sees on PostgreSQL, and up to which time everything is settled.

DBOS writes the times that count here (`completed_at`, `created_at`, `retention_timestamp`) by the server's `now()`,
which is when the transaction began. So when a time was read first and the set of all transactions afterwards, and later
none of them is there any more, every row with an earlier time is visible or will never be. Who keeps a transaction
open for long would hold that up: after a minute only those count that hold a writer's lock on the tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.model import Connections
from tasker_health.sources.dbos.tables import Keys, Look, Tables, guard_version
from tasker_health.sources.marks import Marks

_TRANSACTION_MS = 5_000
"""A transaction can be seen so soon after its `now()`; clocks are set back by less."""

_LOCK_MS = 60_000
"""A transaction takes its first lock so soon after it began."""

_BATCH_MS = 10_000
"""Tasks that are enqueued in a batch are created by a worker's clock, which is behind by less."""

_LOOK = """
SELECT (SELECT max(version) FROM {dbos_migrations}) AS version, pg_is_in_recovery() AS is_standby,
    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) AS now,
    CAST(extract(epoch FROM pg_postmaster_start_time()) AS float8) AS server,
    CAST(CAST(:tasks AS regclass) AS oid)::bigint AS tasks, CAST(CAST(:ops AS regclass) AS oid)::bigint AS ops,
    CAST(pg_relation_filenode(CAST(:tasks AS regclass)) AS bigint) AS tasks_file,
    CAST(pg_relation_filenode(CAST(:ops AS regclass)) AS bigint) AS ops_file,
    pg_stat_get_tuples_deleted(CAST(:tasks AS regclass)) AS tasks_deleted,
    pg_stat_get_tuples_deleted(CAST(:ops AS regclass)) AS ops_deleted,
    pg_stat_get_tuples_inserted(CAST(:tasks AS regclass)) AS inserted,
    (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database) AS active,
    CAST(current_setting('max_connections') AS integer) AS maximum
"""

# Every transaction holds a lock on its own name. A prepared one has no session, and goes by another name.
_TRANSACTIONS = """
SELECT virtualtransaction AS name, locktype = 'relation' AS writes FROM pg_catalog.pg_locks
WHERE pid IS DISTINCT FROM pg_backend_pid() AND (locktype = 'virtualxid' OR (
    locktype = 'relation' AND relation IN (:tasks, :ops)
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
))
UNION ALL SELECT '-1/' || transaction, false FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database()
"""

# The planner takes an index for as dear as a disk's seek and would read a whole history to spare a few thousand.
# A health reading takes no workers from the application, and is over before a compilation would pay.
_SNAPSHOT = (
    "COMMIT; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}; SET LOCAL TIME ZONE 'UTC';"
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
    " SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off"
)


class _Time(NamedTuple):
    """A time by the server's clock, in milliseconds since the epoch."""

    ms: int


class PostgresMoments:
    """Begins snapshots of a PostgreSQL database, and learns from each what is settled."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._names = {"tasks": tables.names["workflow_status"], "ops": tables.names["operation_outputs"]}
        self._all: Marks[_Time] = Marks()
        self._writing: Marks[_Time] = Marks()
        self._noted = 0

    def begin(self, connection: sa.Connection, seconds: float) -> Look:
        """Make every statement that follows see one moment, and return what is known of it.

        What is settled must be read before, in statements of their own: the time, then the transactions.
        """
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        found = self._tables.rows(connection, _LOOK, **self._names)[0]
        guard_version(found.version)
        settled = None if found.is_standby else self._settled(connection, found)
        connection.exec_driver_sql(_SNAPSHOT.format(ms=max(1, round(seconds * 1000))))
        snapshot = connection.exec_driver_sql("SELECT pg_catalog.txid_current_snapshot()::text").scalar_one()
        active, maximum = int(found.active), found.maximum
        deleted = (found.tasks_deleted, found.ops_deleted)
        return Look(
            now=found.now,
            moment=(found.server, snapshot),
            seen=(found.server, found.tasks, found.tasks_file, found.ops, found.ops_file, *deleted),
            settled=settled,
            is_standby=found.is_standby,
            inserted=found.inserted,
            connections=Connections(
                active_connections=active,
                maximum_connections=maximum,
                connection_ratio=round(active / maximum, 4),
            ),
        )

    def _settled(self, connection: sa.Connection, found: Any) -> Keys | None:
        before = self._noted
        transactions = self._tables.rows(connection, _TRANSACTIONS, tasks=found.tasks, ops=found.ops)
        # What another connection has noted meanwhile may be newer than this.
        if self._noted == before:
            self._noted += 1
            self._all.note(_Time(found.now), frozenset(row.name for row in transactions))
            self._writing.note(_Time(found.now), frozenset(row.name for row in transactions if row.writes))
        times = [
            marks.settled.ms - late
            for marks, late in ((self._all, _TRANSACTION_MS), (self._writing, _LOCK_MS))
            if marks.settled is not None
        ]
        return Keys(max(times), max(times) - _BATCH_MS, max(times)) if times else None
