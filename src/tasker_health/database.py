"""One database, asked over connections of our own.

A probe never borrows the application's pool. Work is one plain function over a SQLAlchemy Core `Connection`; it runs
on the loop for asynchronous drivers and in a thread for the others, so no query is written twice.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from tasker_health.connector import Connector
from tasker_health.deadline import leave_to_parent
from tasker_health.driver import Tuning
from tasker_health.errors import ConfigurationError, DatabaseFault
from tasker_health.line import Line
from tasker_health.model import Reason
from tasker_health.pool import Pool, PoolFigures
from tasker_health.settings import DatabaseSettings

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_BROKEN = frozenset({Reason.UNREACHABLE, Reason.REFUSED})
"""What a connection answers whose server has ended it, by a restart say: then each of the others would, too."""


class Database:
    """One database; a usual process asks it over one connection, which opens at the first question and is kept.

    Another one is opened when all that there are are busy. Not safe for use from several event loops.

    Args:
        url: SQLAlchemy URL; `postgresql://`, `mysql://`, `mariadb://` and `sqlite://` name their default driver.
        connect_timeout_seconds: Longest wait for a connection, within the deadline of the question.
        statement_timeout_seconds: Longest time of one statement, held by the server (PostgreSQL
            `statement_timeout`, MariaDB `max_statement_time`, MySQL `max_execution_time`) or by an interrupt.
        pool_size: Most connections; a driver that only blocks has one thread, a SQLite database in memory one.
        checkout_timeout_seconds: Longest wait for one of them to be free, within the deadline of the question.
        tuning: How each connection is made.

    Attributes:
        url: Where it is.
        pool_size: Most connections.
        tuning: How each connection is made.

    Raises:
        ConfigurationError: The URL is not one, or its driver is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_seconds: float = 2,
        statement_timeout_seconds: float = 5,
        pool_size: int = 5,
        checkout_timeout_seconds: float = 5,
        tuning: Tuning = Tuning(),  # noqa: B008 -- frozen
    ) -> None:
        self.url: sa.URL = _parsed(url)
        self.tuning = tuning
        self._connector = Connector(self.url, connect_timeout_seconds, tuning)
        self._statement_timeout_seconds = statement_timeout_seconds
        self.pool_size: int = pool_size if self._connector.driver.is_async and not _in_memory(self.url) else 1
        self._checkout_timeout_seconds = checkout_timeout_seconds
        self._pool: Pool[Line] = self._new_pool()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()

    @classmethod
    def of(cls, settings: DatabaseSettings, url: str, *, counting_seconds: float | None = None) -> Self:
        """Return the database at *url*, asked as *settings* say.

        With *counting_seconds*, for questions that may take so long: they are asked one after the other.

        Raises:
            ConfigurationError: The URL is not one, or its driver is not installed.
        """
        return cls(
            url,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            statement_timeout_seconds=counting_seconds or settings.statement_timeout_seconds,
            pool_size=1 if counting_seconds else settings.pool_size,
            checkout_timeout_seconds=counting_seconds or settings.checkout_timeout_seconds,
            tuning=Tuning(
                prepared_statements=settings.prepared_statements, keepalive_seconds=settings.keepalive_seconds
            ),
        )

    @property
    def dialect(self) -> str:
        """Name of the SQL dialect: `postgresql`, `mysql`, `mariadb`, `sqlite`, ..."""
        return self.url.get_backend_name()

    @property
    def figures(self) -> PoolFigures:
        """How many connections there may be, are there, are busy, and are waited for."""
        return self._pool.figures

    async def run(self, work: Work[T], *, deadline_seconds: float) -> T:
        """Return what *work* answers, asked in a transaction that is always rolled back.

        Raises:
            DatabaseFault: The database cannot be reached, did not answer within *deadline_seconds*, or refused; or
                no connection was free.
        """
        loop = asyncio.get_running_loop()
        self._move_to(loop)
        ends_at = loop.time() + deadline_seconds
        pool = self._pool
        line = await pool.take(ends_at)
        try:
            return await line.run(work, ends_at)
        except DatabaseFault as fault:
            if fault.reason in _BROKEN:
                pool.distrust()
            raise
        finally:
            pool.give_back(line)

    async def close(self) -> None:
        """Close the connections; the next question opens a new one."""
        self._move_to(asyncio.get_running_loop())
        await self._pool.close()

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin anew on *loop*, if it is another one: what was left on one that has ended can only be dropped."""
        if loop is self._loop:
            return
        if self._pid != os.getpid():
            # Forked: a goodbye, or a shutdown of the socket, would end the parent's connections.
            leave_to_parent(self._pool)
            self._connector.forked()
            self._pid = os.getpid()
        else:
            for line in self._pool.lines:
                line.drop()
        self._connector.begin_anew()
        self._loop, self._pool = loop, self._new_pool()

    def _new_pool(self) -> Pool[Line]:
        return Pool(self._new_line, self.pool_size, self._checkout_timeout_seconds)

    def _new_line(self) -> Line:
        return Line(self._connector, self._statement_timeout_seconds)


def _in_memory(url: sa.URL) -> bool:
    """Whether each connection to it would be another database."""
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _parsed(url: str) -> sa.URL:
    if url.startswith("postgres://"):
        raise ConfigurationError("database URL postgres://***: SQLAlchemy has no such scheme; write postgresql://")
    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError):
        scheme, is_url, _ = url.partition("://")
        shown = f"{scheme}://***" if is_url and re.fullmatch(r"[a-z0-9+]{1,40}", scheme) else "***"
        raise ConfigurationError(
            f"database URL {shown}: not a SQLAlchemy URL;"
            " write it as postgresql://user@host:5432/name or sqlite:////path/to/file"
        ) from None
