"""Heartbeats in the database at hand: one row a worker, by the database's own clock.

A beat is one statement in one transaction; nothing is left in the session, so a pooler may stand between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tasker_health.database import Database
from tasker_health.deadline import in_thread
from tasker_health.errors import DatabaseFault, LedgerFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.workers import MOST_WORKERS, Beat, Seen
from tasker_health.workers.document import decoded_pairs, encoded, key_of, words
from tasker_health.workers.sql_table import (
    TABLE,
    cleaning_statement,
    dialect_of,
    is_another,
    is_deadlock,
    is_missing,
    leave_statement,
    read_statement,
    write_statement,
)
from tasker_health.workers.sql_version import judge, look_at_columns, make, read_version

T = TypeVar("T")

_WRITES_A_CLEANING = 32
"""Of how many writes of one process one also deletes what is too old, the first one included."""

_AT_A_TIME = 250
"""After so many beats others have a turn on the event loop."""

_KNOWN_SECONDS = 60.0
"""So long the version of the table is believed to be what it was."""

_TO_BE_MADE = frozenset({Reason.MISSING, Reason.PENDING})
_REMEDY = "who owns the database can make the table: tasker-health workers migrate"


class SqlLedger:
    """Keeps heartbeats in one table.

    Args:
        database: Where; it belongs to the ledger from now on.
        timeout_seconds: Longest time of one question, connecting included.
        forget_after_seconds: Rows that are older are deleted.
        makes_table: Whether a table that is missing is made.

    Raises:
        SettingsError: Heartbeats are not kept in such a database.
    """

    def __init__(
        self, database: Database, *, timeout_seconds: float, forget_after_seconds: float, makes_table: bool = True
    ) -> None:
        self.name: str = database.dialect
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._forget_after_seconds = forget_after_seconds
        self._makes_table = makes_table
        dialect = dialect_of(database.dialect)
        self._before_write = dialect.before_write
        self._before_read = dialect.before_read
        self._write, self._read, self._leave, self._clean = (
            sa.text(spell(dialect)) for spell in (write_statement, read_statement, leave_statement, cleaning_statement)
        )
        self._read_each = sa.text(read_statement(dialect, one_by_one=True))
        self._writes = 0
        self._known_until = -math.inf

    async def beat(self, beat: Beat) -> None:
        """Put *beat* in the place of its worker's last one."""
        ends_at = self._ends_at()
        try:
            await self._know(ends_at)
            await self._ask(partial(self._write_row, beat), ends_at)
        except LedgerFault as fault:
            if fault.reason not in _TO_BE_MADE:
                raise
            if not self._makes_table:
                raise LedgerFault(fault.reason, f"{fault}; {_REMEDY}") from None
            await self._make_table(ends_at)
            await self._ask(partial(self._write_row, beat), ends_at)

    async def leave(self, worker_id: str) -> None:
        """Take the worker's beat away."""
        ends_at = self._ends_at()
        await self._know(ends_at)
        await self._ask(partial(self._delete_row, key_of(worker_id)), ends_at)

    async def read(self) -> Sequence[Seen]:
        """Return the newest beat of each worker, the newest first."""
        ends_at = self._ends_at()
        await self._know(ends_at)
        rows = await self._ask(partial(self._read_rows, self._read), ends_at)
        found: list[Seen] = []
        rested = 0
        for text, now in rows:
            pairs = decoded_pairs(text)
            if pairs is None:  # somebody else has written into the table
                return await self._read_one_by_one(ends_at)
            found += [Seen(beat, at, max(0.0, now - at)) for at, beat in pairs]
            if len(found) - rested >= _AT_A_TIME:
                rested = len(found)
                await asyncio.sleep(0)
        if len(found) >= MOST_WORKERS:
            return await self._read_one_by_one(ends_at)
        return sorted(found, key=attrgetter("at"), reverse=True)

    async def version(self) -> str | None:
        """Return the version of the table; `None`: nobody has written it down.

        Raises:
            LedgerFault: The database did not answer.
        """
        return await self._version(self._ends_at())

    async def make_table(self) -> None:
        """Make the table, or bring it up to date.

        Raises:
            LedgerFault: The database refuses, or the table is another program's, or of a version to come.
        """
        await self._make_table(self._ends_at())

    async def close(self) -> None:
        """Give up the connections."""
        await self._database.close()

    def _ends_at(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds

    async def _read_one_by_one(self, ends_at: float) -> list[Seen]:
        """Return the beats among what there is."""
        rows = await self._ask(partial(self._read_rows, self._read_each), ends_at)
        found = [(now, pair) for text, now in rows for pair in decoded_pairs(text) or []]
        return [Seen(beat, at, max(0.0, now - at)) for now, (at, beat) in found]

    async def _know(self, ends_at: float) -> None:
        """Pass where the table is one that we know; looked at anew from time to time, as others may migrate it."""
        now = asyncio.get_running_loop().time()
        if now < self._known_until:
            return
        version = await self._version(ends_at)
        if version is None:
            await self._ask(look_at_columns, ends_at)
        else:
            judge(version)
        self._known_until = now + _KNOWN_SECONDS

    async def _version(self, ends_at: float) -> str | None:
        try:
            return await self._ask(read_version, ends_at)
        except LedgerFault as fault:
            if fault.reason is Reason.MISSING and not self._is_without_file():
                return None
            raise

    def _is_without_file(self) -> bool:
        name = str(self._database.url.database or "")
        return self.name == "sqlite" and bool(name) and not name.startswith("file:") and not Path(name).exists()

    async def _make_table(self, ends_at: float) -> None:
        self._known_until = -math.inf
        try:
            if self._is_without_file():
                await in_thread(Path(str(self._database.url.database)).touch, "ledger")
            await self._ask(make, ends_at)
        except (OSError, TimeoutError) as error:
            raise LedgerFault(reason_of(error), f"{words_of(error)}; {_REMEDY}") from None
        except LedgerFault as fault:
            raise LedgerFault(fault.reason, f"{fault}; {_REMEDY}") from None

    async def _ask(self, work: Callable[[sa.Connection], T], ends_at: float) -> T:
        left_seconds = ends_at - asyncio.get_running_loop().time()
        if left_seconds <= 0:
            raise LedgerFault(Reason.TIMEOUT, f"no answer within {self._timeout_seconds} s")
        try:
            return await self._database.run(partial(self._run, work), deadline_seconds=left_seconds)
        except DatabaseFault as fault:
            raise LedgerFault(fault.reason, str(fault)) from None

    def _run(self, work: Callable[[sa.Connection], T], connection: sa.Connection) -> T:
        try:
            try:
                return work(connection)
            except DBAPIError as error:
                if not is_deadlock(error.orig):
                    raise
            # One of two who clean and write at the same moment is chosen to begin anew.
            connection.rollback()
            return work(connection)
        except DBAPIError as error:
            if is_missing(error.orig):
                self._known_until = -math.inf
                raise DatabaseFault(Reason.MISSING, f"there is no table {TABLE}") from None
            if is_another(error.orig):
                self._known_until = -math.inf
                words = f"the table {TABLE} is another program's: {words_of(error)}"
                raise DatabaseFault(Reason.UNKNOWN_VERSION, words) from None
            raise

    def _write_row(self, beat: Beat, connection: sa.Connection) -> None:
        if self._before_write:
            connection.exec_driver_sql(self._before_write)
        connection.execute(self._write, _row(beat))
        if self._writes % _WRITES_A_CLEANING == 0:
            connection.execute(self._clean, {"forget": self._forget_after_seconds})
        connection.commit()
        self._writes += 1

    def _delete_row(self, worker_id: str, connection: sa.Connection) -> None:
        connection.execute(self._leave, {"worker_id": worker_id})
        connection.commit()

    def _read_rows(self, statement: sa.TextClause, connection: sa.Connection) -> list[tuple[str, float]]:
        if self._before_read:
            connection.exec_driver_sql(self._before_read)
        return [(str(text), float(now)) for text, now in connection.execute(statement, {"most": MOST_WORKERS})]


def _row(beat: Beat) -> dict[str, object]:
    """Return the columns: what a person reads there is cut where it is too long, the document is whole."""
    return {
        "worker_id": key_of(beat.worker_id),
        "engine": words(beat.engine)[:32],
        "host": words(beat.host)[:255],
        "pid": beat.pid,
        "version": None if beat.version is None else words(beat.version)[:200],
        "queues": words(",".join(beat.queues)),
        "running": words(", ".join(f"{each.name} {each.id}" for each in beat.running)),
        "running_count": beat.running_count,
        "done": beat.done,
        "failed": beat.failed,
        "lag_seconds": beat.lag_seconds,
        "idle_seconds": beat.idle_seconds,
        "stalled": beat.stalled,
        "period_seconds": beat.period_seconds,
        "up_seconds": beat.up_seconds,
        "document": encoded(beat),
    }
