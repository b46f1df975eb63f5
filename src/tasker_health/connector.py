"""How one database is connected to: its engine, its name resolved beside the loop, its limit of time."""

from __future__ import annotations

import asyncio
import threading
import traceback
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tasker_health.deadline import Wait
from tasker_health.driver import Driver, Tuning, driver_of
from tasker_health.errors import ConfigurationError
from tasker_health.resolver import Resolver

_STARVED_FACTOR = 5
"""How many times its limit an attempt may last in a starved loop: it takes some twenty turns."""


class Connector:
    """Connects to one database: one connection a call, no pool.

    Args:
        url: The database.
        timeout_seconds: Longest time of one attempt.
        tuning: How each connection is made.

    Attributes:
        url: The database.
        driver: How it is used.
        engine: Of SQLAlchemy, without a pool.
        thread: Held while a driver that only blocks is asked.

    Raises:
        ConfigurationError: The driver is not installed.
    """

    def __init__(self, url: sa.URL, timeout_seconds: float, tuning: Tuning) -> None:
        self.url = url
        self.driver: Driver = driver_of(url)
        self.thread: threading.Lock = threading.Lock()
        self._timeout_seconds = timeout_seconds
        self._tuning = tuning
        self._resolver = Resolver()
        self.engine: Any = _engine(url, self.driver, tuning)

    async def connection(self) -> AsyncConnection:
        """Return a new connection, which is the asker's.

        Raises:
            TimeoutError: It took longer than `timeout_seconds`.
            Exception: What the driver raises.
        """
        connection: AsyncConnection = self.engine.connect()
        attempt = asyncio.ensure_future(self._start(connection))
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            while not attempt.done() and loop.time() - began < self._timeout_seconds * _STARVED_FACTOR:
                wait = Wait()
                if not await wait.until(loop.time() + self._timeout_seconds, attempt) and not wait.was_starved:
                    break
            attempt.cancel()
            # Its end is worth waiting for: it closes the socket, and asks nobody.
            await asyncio.wait({attempt})
        except BaseException:
            attempt.cancel()
            await asyncio.wait({attempt})
            if not attempt.cancelled() and attempt.exception() is None:
                # It succeeded in the moment in which its asker left: nobody else would close it.
                await connection.close()
            raise
        if attempt.cancelled():
            raise TimeoutError
        attempt.result()
        return connection

    async def _start(self, connection: AsyncConnection) -> None:
        await self._resolver.resolve(self.url.host or "")
        try:
            await connection.start()
            self.driver.opened(driver_connection_of(connection), self._tuning)
        except BaseException as error:
            # Its frames and it hold each other: else the socket stays open until a garbage collection.
            traceback.clear_frames(error.__traceback__)
            raise

    def begin_anew(self) -> None:
        """Drop what belongs to an event loop that has ended."""
        self._resolver = Resolver()

    def forked(self) -> None:
        """Drop what a thread of the parent process may hold."""
        self.thread = threading.Lock()


def driver_connection_of(connection: AsyncConnection) -> Any:
    """Return the driver's own connection, which is not that of SQLAlchemy; `None` when it has lost it."""
    own = connection.sync_connection
    # Asked for one that it has lost, SQLAlchemy would open another one.
    return None if own is None or own.closed or own.invalidated else own.connection.driver_connection


def _engine(url: sa.URL, driver: Driver, tuning: Tuning) -> Any:
    own = url
    try:
        own, arguments = driver.connect_arguments(url, tuning)
        if driver.is_async:
            return create_async_engine(own, poolclass=NullPool, connect_args=arguments)
        return sa.create_engine(own, poolclass=NullPool, connect_args=arguments)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        missing = getattr(error, "name", None) or own.drivername
        raise ConfigurationError(
            f"database URL {url.drivername}://***: its driver {missing} is not installed; {driver.remedy}"
        ) from None
