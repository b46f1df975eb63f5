"""A database asked through what an engine of the application connects with, on a new connection each time.

Of a driver that we do not know nobody could close a connection that was kept when its event loop has ended, or leave it
to the parent of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tasker_health.checks.database import read_only_query
from tasker_health.deadline import in_thread, leave_to_parent, retrieve
from tasker_health.errors import CheckFailed
from tasker_health.model import Reason


def is_usual(engine: sa.Engine | AsyncEngine) -> bool:
    """Return whether the URL of *engine* says everything that it connects with."""
    own = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    creator = getattr(own.pool, "_creator", None)
    if not inspect.isfunction(creator) or creator.__module__ != "sqlalchemy.engine.create":
        return False  # a `creator` of the application's
    if getattr(own.dialect, "_has_events", False) and list(getattr(own.dialect.dispatch, "do_connect", ())):
        return False  # it changes what is connected with
    try:
        of_url = own.dialect.create_connect_args(own.url)
        given = inspect.getclosurevars(creator).nonlocals
        return (list(given["cargs_tup"]), dict(given["cparams"])) == (list(of_url[0]), dict(of_url[1]))
    except (KeyError, TypeError, ValueError):
        return False


class OwnEngine:
    """Asks through a pool of its own, made as that of *engine*: same creator, same events.

    Args:
        engine: An engine of the application; nothing of it is borrowed.
        require_writable: Whether a read-only database is an error.
    """

    def __init__(self, engine: Any, *, require_writable: bool) -> None:
        self._is_async = isinstance(engine, AsyncEngine)
        self._sync: sa.Engine = engine.sync_engine if self._is_async else engine
        self._query = read_only_query(self._sync.dialect.name) if require_writable else None
        self._engine = self._new_engine()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: asyncio.Future[None] | None = None
        self._driver: Any = None

    async def __call__(self) -> None:
        """Ask once.

        Raises:
            CheckFailed: It is read-only (`read_only`), or an earlier question still holds the thread (`timeout`).
            Exception: Of SQLAlchemy or the driver.
        """
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._thread = asyncio.get_running_loop(), None
        if self._is_async:
            await self._ask_on_loop()
        else:
            await self._ask_in_thread()

    async def close(self) -> None:
        """Do nothing: between questions nothing is open."""

    def forked(self) -> None:
        """Leave a question that is being asked to the parent of this process."""
        leave_to_parent((self._engine, self._driver, self._thread))
        self._engine, self._driver, self._thread = self._new_engine(), None, None

    def _new_engine(self) -> sa.Engine:
        sync = self._sync
        return sa.Engine(sync.pool.recreate(), sync.dialect, sync.url, hide_parameters=True)

    async def _ask_on_loop(self) -> None:
        connection = AsyncConnection(AsyncEngine(self._engine))
        try:
            await connection.start()
            await connection.run_sync(self._ask)
            await connection.rollback()
            await connection.close()
        except BaseException:
            self._abort()
            for ending in (AsyncConnection.invalidate, AsyncConnection.close):
                with contextlib.suppress(Exception):
                    await ending(connection)
            raise
        finally:
            self._driver = None

    async def _ask_in_thread(self) -> None:
        if self._thread is not None and not self._thread.done():
            raise CheckFailed(Reason.TIMEOUT, "an earlier question still holds the driver's thread")
        self._thread = in_thread(self._ask_blocking, "sqlalchemy")
        self._thread.add_done_callback(retrieve)
        try:
            await asyncio.shield(self._thread)
        except asyncio.CancelledError:
            self._abort()
            raise

    def _ask_blocking(self) -> None:
        with self._engine.connect() as connection:
            try:
                self._ask(connection)
            except BaseException:
                with contextlib.suppress(Exception):
                    connection.invalidate()
                raise
            finally:
                self._driver = None

    def _ask(self, connection: sa.Connection) -> None:
        self._driver = connection.connection.dbapi_connection
        connection.detach()  # from the pool: it ends when it is closed
        connection.execute(sa.select(1)).scalar_one()
        if self._query and connection.exec_driver_sql(self._query).scalar():
            raise CheckFailed(Reason.READ_ONLY, "the database accepts no writes")

    def _abort(self) -> None:
        """End the call that the connection is in, by its socket, as far as its driver shows that."""
        driver = self._driver
        if driver is None:
            return
        terminate = getattr(driver, "terminate", None)
        if self._is_async and terminate is not None:
            with contextlib.suppress(Exception):
                terminate()
            return
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(_descriptor(driver))) as own:
            own.shutdown(socket.SHUT_RDWR)


def _descriptor(driver: Any) -> int:
    """Return the descriptor of the socket of *driver*: psycopg and psycopg2 say it, PyMySQL has it."""
    holder = driver if hasattr(driver, "fileno") else driver._sock  # noqa: SLF001 -- nothing public has it
    number: int = holder.fileno()
    return number
