"""One connection to one database, one question at a time on it, with deadlines that hold.

A probe never waits for a driver that has been told to give up: at its deadline the connection's own socket is shut
down, which ends the call at once, and the next question opens a new one. (psycopg's asynchronous cancel waits up to
10 s more.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tasker_health.connector import Connector, driver_connection_of
from tasker_health.deadline import Wait, in_thread, within
from tasker_health.errors import DatabaseFault, TaskerHealthError
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_GOODBYE_SECONDS = 1

_LONGEST_SECONDS = 10
"""How long a question may go on in a starved loop."""

_STILL_ASKED = "an earlier question is still being asked"


class _GoingOn(NamedTuple):
    """A question whose asker is gone, and when it was asked by the loop's clock."""

    task: asyncio.Future[Any]
    began: float


class Line:
    """One connection, opened at the first question and kept, on one event loop.

    Args:
        connector: Connects.
        statement_timeout_seconds: Longest time of one statement.
    """

    def __init__(self, connector: Connector, statement_timeout_seconds: float) -> None:
        self._connector = connector
        self._driver = connector.driver
        self._url = connector.url
        self._statement_timeout_seconds = statement_timeout_seconds
        self._connection: AsyncConnection | None = None
        self._opened_file: tuple[int, int] | None = None
        self._leftover: set[asyncio.Future[Any]] = set()
        self._going_on: _GoingOn | None = None

    async def run(self, work: Work[T], ends_at: float) -> T:
        """Return what *work* answers before *ends_at* by the loop's clock; one question at a time.

        Raises:
            DatabaseFault: See `Database.run`.
        """
        try:
            await self._await_earlier(ends_at)
            if self._driver.is_async:
                return await self._bounded(self._ask(work, ends_at), ends_at)
            return await self._bounded(self._ask_in_thread(work), ends_at)
        except TaskerHealthError:
            raise
        except Exception as error:  # noqa: BLE001 -- every driver has its own
            raise DatabaseFault(reason_of(error), self._without_secret(error)) from None

    async def close(self) -> None:
        """Close the connection; the next question opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await within(connection.close(), _GOODBYE_SECONDS)
        if self._going_on is not None:
            self._going_on.task.cancel()
        if self._leftover:
            await asyncio.wait(self._leftover, timeout=_GOODBYE_SECONDS)

    def drop(self) -> None:
        """Let go of what was left open on an event loop that has ended."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.sync_connection is not None:
            with contextlib.suppress(Exception):
                driver = driver_connection_of(connection)
                connection.sync_connection.detach()
                self._driver.drop(driver)

    async def _bounded(self, question: Coroutine[Any, Any, T], ends_at: float) -> T:
        """Wait for *question*, but not longer than until *ends_at*, whatever the driver does."""
        began = asyncio.get_running_loop().time()
        if began >= ends_at:
            # A task that is given up before it has begun would not see that its connection was taken away.
            question.close()
            raise DatabaseFault(Reason.TIMEOUT, _STILL_ASKED)
        task, wait = asyncio.ensure_future(question), Wait()
        try:
            is_done = await wait.until(ends_at, task)
        except asyncio.CancelledError:
            self._leave(task, began, wait)
            raise
        if not is_done:
            self._leave(task, began, wait)
            raise DatabaseFault(Reason.TIMEOUT, f"no answer within {ends_at - began:.3f} s")
        return task.result()

    def _leave(self, task: asyncio.Future[Any], began: float, wait: Wait) -> None:
        """Give *task* up; let it go on when the loop was too starved to see whether the database had answered."""
        self._keep(task)
        if task.done():
            return  # in the moment in which its asker left: the connection is ready for the next question
        age_seconds = asyncio.get_running_loop().time() - began
        if self._driver.is_async and wait.was_starved and age_seconds < _LONGEST_SECONDS:
            self._going_on = _GoingOn(task, began)
        else:
            self._give_up(task)

    async def _await_earlier(self, ends_at: float) -> None:
        """Wait for the question that goes on from a starved moment."""
        earlier, self._going_on = self._going_on, None
        if earlier is None:
            return
        wait = Wait()
        try:
            if not await wait.until(ends_at, earlier.task):
                raise DatabaseFault(Reason.TIMEOUT, _STILL_ASKED)
        finally:
            if not earlier.task.done():
                self._leave(earlier.task, earlier.began, wait)

    def _give_up(self, task: asyncio.Future[Any]) -> None:
        """End *task* without waiting for it: by taking its socket away, or by a cancel while there is none."""
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
        driver = driver_connection_of(connection)
        if driver is not None:
            await self._driver.abort(driver)

    async def _open(self) -> AsyncConnection:
        file = self._file()
        if file is not None and not os.access(self._url.database or "", os.R_OK):
            raise DatabaseFault(Reason.AUTHENTICATION_FAILED, "the file may not be read")
        kept = self._connection
        if kept is not None:
            if not kept.closed and self._opened_file == file:
                return kept
            self._connection = None
            await self._discard(kept)
        connection = await self._connector.connection()
        self._connection, self._opened_file = connection, file
        return connection

    def _file(self) -> tuple[int, int] | None:
        """Return which file a SQLite database is now: an open one that was deleted or replaced still answers."""
        name = self._url.database
        if self._url.get_backend_name() != "sqlite" or not name or name.startswith(("file:", ":memory:")):
            return None
        try:
            found = os.stat(name)  # noqa: PTH116 -- one call, no object, on each question
        except OSError:
            return None
        return found.st_dev, found.st_ino

    async def _ask_in_thread(self, work: Work[T]) -> T:
        """Ask through a driver that only blocks; a call that hangs holds this one thread and is not repeated."""
        thread = self._connector.thread
        if not thread.acquire(blocking=False):
            raise DatabaseFault(Reason.TIMEOUT, "an earlier question still holds the driver's thread")

        def ask() -> T:
            try:
                with self._connector.engine.connect() as connection:
                    return work(connection)
            finally:
                thread.release()

        try:
            answer = in_thread(ask, "database")
        except BaseException:
            thread.release()
            raise
        return await asyncio.shield(answer)

    def _without_secret(self, error: BaseException) -> str:
        """Return the driver's words for the log: in one line, without the password."""
        words = words_of(error).partition(": ")[2]
        return words.replace(self._url.password, "***") if self._url.password else words
