"""The check of a database that the application has an engine for: is it well, and is anything left in the pool?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from tasker_health.checks.dependencies import Dependency, Terms, client_of
from tasker_health.errors import CheckDegraded, ConfigurationError
from tasker_health.model import Reason
from tasker_health.settings import DatabaseSettings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tasker_health.checks.database import DatabaseCheck
    from tasker_health.checks.dependencies.sqlalchemy_engine import OwnEngine

_LONGEST_SECONDS = 60.0
"""Deadline where there is none but the runner's, which comes before."""


class SqlAlchemyCheck(Dependency):
    """Asks the database of an engine, on a connection of its own; and of the engine's own pool what it tells unasked.

    A usual engine is asked through our own driver for its database, where that is installed. One that is given what a
    URL does not say (`connect_args`, `creator`, the event `do_connect`) is asked through a pool of one connection that
    is made in the same way.

    Args:
        name: The name of the check.
        engine: An `Engine` or `AsyncEngine` that the application has, or the URL of a database.
        require_writable: Whether a read-only database is an error; for PostgreSQL, MySQL, MariaDB and SQLite.
        settings: Limits of time, where our own driver is used.
        terms: See `Terms`.

    Raises:
        ConfigurationError: It is neither, or the driver is not installed.
    """

    def __init__(
        self,
        name: str,
        engine: Engine | AsyncEngine | str,
        *,
        require_writable: bool = False,
        settings: DatabaseSettings | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        client_of(name, "sqlalchemy", "SQLAlchemy", "sql")
        from sqlalchemy import Engine
        from sqlalchemy.ext.asyncio import AsyncEngine

        if not isinstance(engine, Engine | AsyncEngine | str):
            raise ConfigurationError(f"check {name}: {type(engine).__name__}: give an Engine, an AsyncEngine or a URL")
        self._has_connection = False
        self._pool: Any = None if isinstance(engine, str) else engine.pool
        super().__init__(name, [_password(engine)], **terms)
        self._asked = _asked(engine, self.timeout_seconds, settings or DatabaseSettings(), require_writable)

    async def close(self) -> None:
        """Close the connection."""
        await self._asked.close()

    async def _look(self) -> None:
        had_connection, self._has_connection = self._has_connection, False
        try:
            await self._asked()
        except Exception as error:
            if not had_connection or self._reason(error) is not Reason.UNREACHABLE:
                raise
            # The server had ended it, by a restart say: only a new one tells whether it is there.
            await self._asked()
        self._has_connection = True
        if _is_exhausted(self._pool):
            raise CheckDegraded(Reason.POOL_EXHAUSTED, "no connection is left in the pool of the application")

    def _leave_to_parent(self) -> None:
        self._asked.forked()


class _Ours:
    """Asks through a driver of ours, which knows by itself of other loops and processes."""

    def __init__(self, check: DatabaseCheck, database: Any) -> None:
        self._check = check
        self._database = database

    async def __call__(self) -> None:
        """Ask once."""
        await self._check()

    async def close(self) -> None:
        """Close the connection."""
        await self._database.close()

    def forked(self) -> None:
        """Do nothing."""


def _asked(
    engine: Engine | AsyncEngine | str, seconds: float | None, settings: DatabaseSettings, writable: bool
) -> _Ours | OwnEngine:
    from tasker_health.checks.database import DatabaseCheck
    from tasker_health.checks.dependencies.sqlalchemy_engine import OwnEngine, is_usual
    from tasker_health.database import Database

    if isinstance(engine, str) or is_usual(engine):
        url = engine if isinstance(engine, str) else engine.url.render_as_string(hide_password=False)
        try:
            database = Database.of(settings, url)
        except ConfigurationError:
            if isinstance(engine, str):
                raise
        else:
            check = DatabaseCheck(database, require_writable=writable, timeout_seconds=seconds or _LONGEST_SECONDS)
            return _Ours(check, database)
    return OwnEngine(engine, require_writable=writable)


def _password(engine: Any) -> str | None:
    url = getattr(engine, "url", None)
    return None if url is None or url.password is None else str(url.password)


def _is_exhausted(pool: Any) -> bool:
    """Return whether *pool* says, without lending anything, that it has lent all that it may."""
    try:
        most_beyond = pool._max_overflow  # noqa: SLF001 -- nothing public has it
        return bool(most_beyond >= 0 and pool.checkedout() >= pool.size() + most_beyond)
    except AttributeError:
        return False  # it has no limit, or does not tell
