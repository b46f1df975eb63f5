"""One connection of our own to one database, with deadlines that hold.

A probe never borrows the application's pool, and never waits for a driver that has been told to give up: at its
deadline the connection's own socket is shut down, which ends the call at once, and the next question opens a new
one. (psycopg's asynchronous cancel waits up to 10 s more.)

Work is one plain function over a SQLAlchemy Core `Connection`; it runs on the loop for asynchronous drivers and in
a thread for the others, so no query is written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tasker_health.deadline import in_thread, leave_to_parent, within
from tasker_health.driver import Driver, driver_of
from tasker_health.errors import ConfigurationError, DatabaseFault, TaskerHealthError
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.resolver import Resolver

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_GOODBYE_SECONDS = 1


class Database:
    """One database, asked over one connection that opens at the first question and is kept.

    Questions are asked one after the other. Not safe for use from several event loops.

    Args:
        url: SQLAlchemy URL; `postgresql://`, `mysql://`, `mariadb://` and `sqlite://` name their default driver.
        connect_timeout_seconds: Longest wait for a connection, within the deadline of the question.
        statement_timeout_seconds: Longest time of one statement, held by the server (PostgreSQL
            `statement_timeout`, MariaDB `max_statement_time`, MySQL `max_execution_time`) or by an interrupt.

    Raises:
        ConfigurationError: The URL is not one, or its driver is not installed.
    """

    def __init__(self, url: str, *, connect_timeout_seconds: float = 2, statement_timeout_seconds: float = 5) -> None:
        self.url = _parsed(url)
        self._driver: Driver = driver_of(self.url)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._statement_timeout_seconds = statement_timeout_seconds
        self._engine = self._make_engine()
        self._connection: AsyncConnection | None = None
        self._opened_file: tuple[int, int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._leftover: set[asyncio.Future[Any]] = set()
        self._held: asyncio.Future[Any] | None = None
        self._resolver = Resolver()
        self._pid = os.getpid()

    @property
    def dialect(self) -> str:
        """Name of the SQL dialect: `postgresql`, `mysql`, `mariadb`, `sqlite`, ..."""
        return self.url.get_backend_name()

    async def run(self, work: Work[T], *, deadline_seconds: float) -> T:
        """Return what *work* answers, asked in a transaction that is always rolled back.

        Raises:
            DatabaseFault: The database cannot be reached, did not answer within *deadline_seconds*, or refused.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        ends_at = loop.time() + deadline_seconds
        try:
            async with asyncio.timeout_at(ends_at):
                await self._turn.acquire()
        except TimeoutError:
            raise DatabaseFault(Reason.TIMEOUT, "an earlier question is still being asked") from None
        try:
            if self._driver.is_async:
                return await self._bounded(self._ask(work, ends_at), ends_at - loop.time())
            return await self._bounded(self._ask_in_thread(work), ends_at - loop.time())
        except TaskerHealthError:
            raise
        except Exception as error:  # noqa: BLE001 -- every driver has its own
            raise DatabaseFault(reason_of(error), self._without_secret(error)) from None
        finally:
            self._turn.release()

    async def close(self) -> None:
        """Close the connection; the next question opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await within(connection.close(), _GOODBYE_SECONDS)
        if self._leftover:
            await asyncio.wait(self._leftover, timeout=1)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin anew on *loop*: what was left on another one, which has ended, can only be dropped."""
        connection, self._connection = self._connection, None
        if self._pid != os.getpid():
            # Forked: a goodbye, or a shutdown of the socket, would end the parent's connection.
            leave_to_parent((connection, self._held))
            connection, self._held, self._pid = None, None, os.getpid()
        if connection is not None and connection.sync_connection is not None:
            with contextlib.suppress(Exception):
                driver = _driver_connection(connection)
                connection.sync_connection.detach()
                self._driver.drop(driver)
        self._loop, self._turn = loop, asyncio.Lock()
        self._leftover.clear()
        self._resolver = Resolver()

    async def _bounded(self, question: Coroutine[Any, Any, T], seconds: float) -> T:
        """Wait for *question*, but not longer than *seconds*, whatever the driver does."""
        task = asyncio.ensure_future(question)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(seconds, 0))
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if not done:
            self._give_up(task)
            raise DatabaseFault(Reason.TIMEOUT, f"no answer within {seconds:.3f} s")
        return task.result()

    def _give_up(self, task: asyncio.Future[Any]) -> None:
        """End *task* without waiting for it: by taking its socket away, or by a cancel while there is none."""
        self._keep(task)
        connection, self._connection = self._connection, None
        if connection is None:
            task.cancel()
        else:
            self._keep(asyncio.ensure_future(self._abort(connection)))

    def _keep(self, task: asyncio.Future[Any]) -> None:
        """Hold on to *task* until it is done: asyncio itself does not."""
        self._leftover.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._leftover.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it: the asker was told `timeout`

    async def _ask(self, work: Work[T], ends_at: float) -> T:
        connection = await self._open()
        try:
            seconds = min(self._statement_timeout_seconds, ends_at - asyncio.get_running_loop().time())
            await connection.run_sync(self._driver.begin, max(seconds, 0.001))
            answer = await connection.run_sync(work)
            await connection.rollback()
        except BaseException:
            # What state a connection is in after an error is not worth a guess.
            if self._connection is connection:
                self._connection = None
            await self._discard(connection)
            raise
        if self._connection is not connection:
            # The asker has given up meanwhile, and nobody else will close it.
            await self._discard(connection)
        return answer

    async def _discard(self, connection: AsyncConnection) -> None:
        """Drop *connection* without a goodbye, which a dead server would not answer; errors say nothing new."""
        for ending in (self._abort, AsyncConnection.invalidate, AsyncConnection.close):
            with contextlib.suppress(Exception):
                await ending(connection)

    async def _abort(self, connection: AsyncConnection) -> None:
        await self._driver.abort(_driver_connection(connection))

    async def _open(self) -> AsyncConnection:
        file = self._file()
        if file is not None and not os.access(self.url.database or "", os.R_OK):
            raise DatabaseFault(Reason.AUTHENTICATION_FAILED, "the file may not be read")
        kept = self._connection
        if kept is not None:
            if not kept.closed and self._opened_file == file:
                return kept
            self._connection = None
            await self._discard(kept)
        connection: AsyncConnection = self._engine.connect()
        async with asyncio.timeout(self._connect_timeout_seconds):
            await self._resolver.resolve(self.url.host or "")
            try:
                await connection.start()
            except BaseException as error:
                # Its frames and it hold each other: else the socket stays open until a garbage collection.
                traceback.clear_frames(error.__traceback__)
                raise
        self._connection, self._opened_file = connection, file
        return connection

    def _file(self) -> tuple[int, int] | None:
        """Return which file a SQLite database is now: an open one that was deleted or replaced still answers."""
        name = self.url.database
        if self.dialect != "sqlite" or not name or name.startswith(("file:", ":memory:")):
            return None
        try:
            found = os.stat(name)  # noqa: PTH116 -- one call, no object, on each question
        except OSError:
            return None
        return found.st_dev, found.st_ino

    async def _ask_in_thread(self, work: Work[T]) -> T:
        """Ask through a driver that only blocks; a call that hangs holds this one thread and is not repeated."""
        if self._held is not None and not self._held.done():
            raise DatabaseFault(Reason.TIMEOUT, "an earlier question still holds the driver's thread")

        def ask() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        self._held = in_thread(ask, "database")
        return await asyncio.shield(self._held)

    def _make_engine(self) -> Any:
        url, arguments = self._driver.connect_arguments(self.url)
        try:
            if self._driver.is_async:
                return create_async_engine(url, poolclass=NullPool, connect_args=arguments)
            return sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            missing = getattr(error, "name", None) or url.drivername
            raise ConfigurationError(
                f"database URL {self.url.drivername}://***:"
                f" its driver {missing} is not installed; {self._driver.remedy}"
            ) from None

    def _without_secret(self, error: BaseException) -> str:
        """Return the driver's words for the log: in one line, without the password."""
        words = words_of(error).partition(": ")[2]
        return words.replace(self.url.password, "***") if self.url.password else words


def _driver_connection(connection: AsyncConnection) -> Any:
    """Return the driver's own connection, which is not that of SQLAlchemy."""
    return connection.sync_connection.connection.driver_connection if connection.sync_connection else None


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError):
        scheme, is_url, _ = url.partition("://")
        shown = f"{scheme}://***" if is_url and re.fullmatch(r"[a-z0-9+]{1,40}", scheme) else "***"
        raise ConfigurationError(
            f"database URL {shown}: not a SQLAlchemy URL;"
            " write it as postgresql://user@host:5432/name or sqlite:////path/to/file"
        ) from None
