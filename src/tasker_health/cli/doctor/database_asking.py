"""Asks a database for a doctor: on lines of its own, made as the settings say, and within a time for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from tasker_health.connector import Connector
from tasker_health.database import Database
from tasker_health.line import Line
from tasker_health.settings import DatabaseSettings

T = TypeVar("T")

PATIENCE_SECONDS = 7
"""Longest time of a whole examination; what is open afterwards is closed in a second or two."""

_STATEMENT_SECONDS = 3


class DatabaseAsking:
    """One database, asked for a doctor.

    Args:
        settings: How it is asked.
        url: Where it is.

    Attributes:
        settings: How it is asked.
        one: A line that is kept.
        other: Another one.
        pool: The database as readiness asks it, with its pool.

    Raises:
        ConfigurationError: The URL is not one, or its driver is not installed.
    """

    def __init__(self, settings: DatabaseSettings, url: str) -> None:
        self.settings = settings
        self.pool: Database = Database.of(settings, url)
        self._connector = Connector(self.pool.url, settings.connect_timeout_seconds, self.pool.tuning)
        self._lines: list[Line] = []
        self._ends_at = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        self.one: Line = self.line()
        self.other: Line = self.line()

    @property
    def left_seconds(self) -> float:
        """How much is left of the time for all of it."""
        return self._ends_at - asyncio.get_running_loop().time()

    def line(self) -> Line:
        """Return a line that has not connected yet."""
        line = Line(self._connector, _STATEMENT_SECONDS)
        self._lines.append(line)
        return line

    async def ask(self, work: Callable[[sa.Connection], T], line: Line | None = None) -> T:
        """Return what *work* answers on *line*, which is `one` by default.

        Raises:
            DatabaseFault: It did not answer, refused, or the time for all of it is over.
        """
        seconds = min(self.left_seconds, self.settings.connect_timeout_seconds + _STATEMENT_SECONDS)
        return await (line or self.one).run(work, asyncio.get_running_loop().time() + seconds)

    async def close(self) -> None:
        """Close what is open."""
        await asyncio.gather(*(line.close() for line in self._lines), self.pool.close())
