"""How one database is connected to: its engine, its name resolved beside the loop, its limit of time."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tasker_health.deadline import Wait
from tasker_health.driver import Driver
from tasker_health.errors import ConfigurationError
from tasker_health.resolver import Resolver

_STARVED_FACTOR = 5
"""How many times its limit an attempt may last in a starved loop: it takes some twenty turns."""


class Connector:
    """Connects to one database: one connection a call, no pool.

    Args:
        url: The database.
        driver: How it is used.
        timeout_seconds: Longest time of one attempt.

    Attributes:
        engine: Of SQLAlchemy, without a pool.

    Raises:
        ConfigurationError: The driver is not installed.
    """

    def __init__(self, url: sa.URL, driver: Driver, timeout_seconds: float) -> None:
        self._host = url.host or ""
        self._timeout_seconds = timeout_seconds
        self._resolver = Resolver()
        self.engine: Any = _engine(url, driver)

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
        finally:
            attempt.cancel()
            # Its end is worth waiting for: it closes the socket, and asks nobody.
            await asyncio.wait({attempt})
        if attempt.cancelled():
            raise TimeoutError
        attempt.result()
        return connection

    async def _start(self, connection: AsyncConnection) -> None:
        await self._resolver.resolve(self._host)
        try:
            await connection.start()
        except BaseException as error:
            # Its frames and it hold each other: else the socket stays open until a garbage collection.
            traceback.clear_frames(error.__traceback__)
            raise

    def begin_anew(self) -> None:
        """Drop what belongs to an event loop that has ended."""
        self._resolver = Resolver()


def _engine(url: sa.URL, driver: Driver) -> Any:
    own, arguments = driver.connect_arguments(url)
    try:
        if driver.is_async:
            return create_async_engine(own, poolclass=NullPool, connect_args=arguments)
        return sa.create_engine(own, poolclass=NullPool, connect_args=arguments)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        missing = getattr(error, "name", None) or own.drivername
        raise ConfigurationError(
            f"database URL {url.drivername}://***: its driver {missing} is not installed; {driver.remedy}"
        ) from None
