"""The cache in the database at hand: a table of PostgreSQL or of SQLite, by the database's own clock.

A read is one statement, a write one transaction, and nothing is left in the session, so a pooler may stand between. The
table is made by the first write that misses it, or by the owner of the database with `table_statement`; a reader does
not miss it. In PostgreSQL it is UNLOGGED: nothing of it goes into the log of changes, and a crash empties it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tasker_health.cache import Held
from tasker_health.cache.sql_table import (
    ACQUIRE,
    CLOCK_SLACK_SECONDS,
    GET,
    PUT,
    RELEASE,
    TABLE,
    dialect_of,
    spelled,
    table_statement,
)
from tasker_health.database import Database
from tasker_health.errors import CacheFault, DatabaseFault
from tasker_health.model import Reason
from tasker_health.reasons import words_of

__all__ = ["SqlCache", "table_statement"]

T = TypeVar("T")
Values = Mapping[str, object]

_WRITES_A_CLEANING = 16
"""Of how many writes of one process one also deletes what has outlived its time, the very first one included."""


class SqlCache:
    """Keeps entries and leases in one table.

    Args:
        database: Where; it belongs to the cache from now on.
        timeout_seconds: Longest time of one question, connecting included.

    Raises:
        SettingsError: The database is neither PostgreSQL nor SQLite.
    """

    name = "sql"

    def __init__(self, database: Database, *, timeout_seconds: float) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._dialect = dialect = dialect_of(database.dialect)
        self._get, self._put, self._acquire, self._release, self._clean = (
            spelled(statement, dialect) for statement in (GET, PUT, ACQUIRE, RELEASE, dialect.clean)
        )
        self._writes = 0
        # What was put there late in one tick may be read early in another: two ticks at most.
        self.coarse_seconds: float = 2 * dialect.round_up_seconds

    async def get(self, key: str) -> Held | None:
        """Return what lies under *key*, or `None`; also when there is no table."""
        row = await self._ask(partial(self._read, {"key": key}), self._ends_at())
        if row is None:
            return None
        value, age_seconds, ends_at = row
        if not (isinstance(value, bytes) and _is_finite(age_seconds) and _is_finite(ends_at)):
            raise CacheFault(Reason.INVALID, "there is a lease under this key, or a row that is not ours")
        if age_seconds < -CLOCK_SLACK_SECONDS:
            return None
        return Held(value, max(0.0, age_seconds) + self._dialect.round_up_seconds)

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep *value* under *key* for *keep_seconds*."""
        await self._write(self._put, {"key": key, "value": value, "seconds": float(keep_seconds)})

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Return whether *holder* has the lease *key* for *seconds* from now on."""
        return await self._write(self._acquire, {"key": key, "holder": holder, "seconds": float(seconds)}) > 0

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it."""
        # Where there is no table there is no lease either.
        await self._ask(partial(self._change, self._release, {"key": key, "holder": holder}), self._ends_at())

    async def close(self) -> None:
        """Give up the connections of the database."""
        await self._database.close()

    async def _write(self, statement: sa.TextClause, values: Values) -> int:
        """Return how many rows *statement* has changed, in a table that is made when it is missing."""
        ends_at = self._ends_at()
        changed = await self._ask(partial(self._change, statement, values), ends_at)
        if changed is None:
            await self._make_table(ends_at)
            changed = await self._ask(partial(self._change, statement, values), ends_at)
        if changed is None:
            raise CacheFault(Reason.MISSING, f"somebody drops the table {TABLE}")
        return changed

    async def _make_table(self, ends_at: float) -> None:
        try:
            await self._ask(self._create, ends_at)
        except CacheFault as fault:
            if fault.reason not in {Reason.AUTHENTICATION_FAILED, Reason.MISSING}:
                raise
            remedy = f"the owner of the database can make the table of the cache: {self._dialect.create}"
            raise CacheFault(fault.reason, f"{fault}; {remedy}") from None

    def _ends_at(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds

    async def _ask(self, work: Callable[[sa.Connection], T], ends_at: float) -> T:
        left_seconds = ends_at - asyncio.get_running_loop().time()
        if left_seconds <= 0:
            raise CacheFault(Reason.TIMEOUT, f"no answer within {self._timeout_seconds} s")
        try:
            return await self._database.run(work, deadline_seconds=left_seconds)
        except DatabaseFault as fault:
            raise CacheFault(fault.reason, str(fault)) from None

    def _read(self, values: Values, connection: sa.Connection) -> tuple[Any, ...] | None:
        found = self._execute(connection, self._get, values)
        row = None if found is None else found.first()
        return None if row is None else tuple(row)

    def _change(self, statement: sa.TextClause, values: Values, connection: sa.Connection) -> int | None:
        if self._dialect.before_write:
            connection.exec_driver_sql(self._dialect.before_write)
        done = self._execute(connection, statement, values)
        if done is None:
            return None
        if self._writes % _WRITES_A_CLEANING == 0:
            self._execute(connection, self._clean, {})
        self._writes += 1
        connection.commit()
        return done.rowcount

    def _create(self, connection: sa.Connection) -> None:
        try:
            connection.exec_driver_sql(self._dialect.create)
            connection.commit()
        except DBAPIError as error:
            if not self._dialect.is_made_meanwhile(error.orig):
                raise
            connection.rollback()

    def _execute(
        self, connection: sa.Connection, statement: sa.TextClause, values: Values
    ) -> sa.CursorResult[Any] | None:
        """Return what *statement* answers, or `None` when there is no table."""
        try:
            return connection.execute(statement, dict(values))
        except DBAPIError as error:
            if self._dialect.is_table_missing(error.orig):
                return None
            reason = self._dialect.trouble(error.orig)
            if reason is None:
                raise
            raise DatabaseFault(reason, words_of(error)) from None


def _is_finite(number: object) -> bool:
    return isinstance(number, float) and math.isfinite(number)
