"""The cache in SQL, as the suite of caches must know it: a PostgreSQL of its own, and a file of SQLite."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from contract.cache_backend import PATIENCE_SECONDS, CacheBackend, Recipe, ServerBackend
from servers import PostgresServer, sync_url
from tasker_health.cache import Cache
from tasker_health.cache.sql import SqlCache, table_statement
from tasker_health.cache.sql_table import TABLE
from tasker_health.database import Database


def sql_cache(url: str, timeout_seconds: float) -> Cache:
    """Return a new client of the database at *url*."""
    return SqlCache(Database(url), timeout_seconds=timeout_seconds)


class _InATable(CacheBackend):
    """What is laid into the table past the client.

    Attributes:
        now: The clock of the database, in its words.
        without_end: An end that never comes, in its words.
    """

    now: str
    without_end: str

    @abstractmethod
    def execute(self, statement: str, *values: object) -> None:
        """Run one *statement*, with a `?` for each of *values*."""

    def clear(self) -> None:
        """Remove the table: whoever writes first makes it again."""
        self.execute(f"DROP TABLE IF EXISTS {TABLE}")

    def put_raw(self, key: str, value: bytes, keep_seconds: float | None) -> None:
        """Lay a row under *key*."""
        self._lay(key, value, self.without_end if keep_seconds is None else f"{self.now} + {keep_seconds}")

    @property
    def oddities(self) -> Mapping[str, Callable[[str], None]]:
        """A lease, nothing at all, and an entry that somebody has made to stay."""
        soon = f"{self.now} + 60"
        return {
            "lease": lambda key: self._lay(key, None, soon, "somebody"),
            "nothing": lambda key: self._lay(key, None, soon),
            "for ever": lambda key: self._lay(key, b"words", self.without_end),
        }

    def _lay(self, key: str, value: bytes | None, ends_at: str, holder: str | None = None) -> None:
        self.execute(self._create())
        self.execute(f"DELETE FROM {TABLE} WHERE key = ?", key)
        columns = f"(?, ?, ?, {self.now}, {ends_at})"
        self.execute(f"INSERT INTO {TABLE} (key, value, holder, put_at, ends_at) VALUES {columns}", key, value, holder)

    @abstractmethod
    def _create(self) -> str:
        """Return the statement that makes the table."""


class SqlOnPostgres(_InATable, ServerBackend):
    """A PostgreSQL of its own, which can be away. It does not count what it sends."""

    now = "extract(epoch FROM clock_timestamp())"
    without_end = "'infinity'"
    longest_raw = 20_000_000

    def __init__(self) -> None:
        self.server = PostgresServer()
        self._engine = sa.create_engine(
            sync_url(self.server.url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )

    def recipe(self, timeout_seconds: float = PATIENCE_SECONDS) -> Recipe:
        """Return how a process makes a client."""
        given = {"url": self.server.url, "timeout_seconds": timeout_seconds}
        return Recipe("contract.sql_backend", "sql_cache", given)

    def execute(self, statement: str, *values: object) -> None:
        """Run one statement."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement.replace("?", "%s"), values)

    def _create(self) -> str:
        return table_statement("postgresql")


class SqlOnSqlite(_InATable):
    """A file: no server, which could hang or stop. Who holds its lock is a case of test_sql.py."""

    now = "(julianday('now') - 2440587.5) * 86400.0"
    without_end = "9e999"
    longest_raw = 20_000_000

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tasker-health-cache-"))
        self._file = self._folder / "app.sqlite"

    def cache(self, timeout_seconds: float = PATIENCE_SECONDS) -> Cache:
        """Return a new client."""
        return sql_cache(f"sqlite:///{self._file}", timeout_seconds)

    def execute(self, statement: str, *values: object) -> None:
        """Run one statement."""
        with closing(sqlite3.connect(self._file, timeout=PATIENCE_SECONDS, isolation_level=None)) as connection:
            connection.execute(statement, values)

    def end(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _create(self) -> str:
        return table_statement("sqlite")
