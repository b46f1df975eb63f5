"""What the suite of ledgers must know of each store: how to ask it, how to reach past its client, how to disturb it.

Add one by a subclass here, and its line in `LEDGERS` of `test_ledgers.py`.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from caches import RedisServer, ValkeyServer
from server import Server
from servers import MariaDbServer, PostgresServer, sync_url
from tasker_health.cache.redis import redis_connection_at
from tasker_health.database import Database
from tasker_health.workers import Ledger
from tasker_health.workers.redis import RedisLedger
from tasker_health.workers.sql import SqlLedger
from tasker_health.workers.sql_table import TABLE

PATIENCE_SECONDS = 30
FORGET_SECONDS = 3600
NAMESPACE = "suite"


class LedgerBackend(ABC):
    """One store, without a heartbeat at the start of each test."""

    server: Server | None = None

    @abstractmethod
    def ledger(self, timeout_seconds: float = PATIENCE_SECONDS, forget_after_seconds: float = FORGET_SECONDS) -> Ledger:
        """Return a new client."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything, as if nobody had ever written."""

    @abstractmethod
    def move(self, worker_id: str, seconds: float) -> None:
        """Let the worker's beat have been written so many *seconds* later: as if the clock had been set back."""

    @abstractmethod
    def spoil(self, worker_id: str) -> None:
        """Let the worker's beat be something that nobody of us has written."""

    @abstractmethod
    def occupy(self) -> None:
        """Let something of another program lie where the heartbeats would."""

    def heal(self) -> None:
        """Make it answer again, whatever a test that failed has left."""
        if self.server is not None:
            self.server.resume()
            if not self.server.running:
                self.server.start()

    def end(self) -> None:
        """End everything, for good."""
        if self.server is not None:
            self.server.end()


class SqlBackend(LedgerBackend):
    """A table."""

    url: str

    def ledger(
        self,
        timeout_seconds: float = PATIENCE_SECONDS,
        forget_after_seconds: float = FORGET_SECONDS,
        *,
        makes_table: bool = True,
    ) -> SqlLedger:
        """Return a new client."""
        return SqlLedger(
            Database(self.url, connect_timeout_seconds=timeout_seconds),
            timeout_seconds=timeout_seconds,
            forget_after_seconds=forget_after_seconds,
            makes_table=makes_table,
        )

    def clear(self) -> None:
        """Remove both tables: whoever writes first makes them again."""
        self.execute(f"DROP TABLE IF EXISTS {TABLE}")
        self.execute("DROP TABLE IF EXISTS tasker_health_version")

    def move(self, worker_id: str, seconds: float) -> None:
        """Write another time."""
        self.execute(f"UPDATE {TABLE} SET beat_at = beat_at + {seconds} WHERE worker_id = '{worker_id}'")

    def spoil(self, worker_id: str) -> None:
        """Write another document."""
        self.execute(f"UPDATE {TABLE} SET document = 'none of ours' WHERE worker_id = '{worker_id}'")

    def occupy(self) -> None:
        """Make a table of that name, with other columns."""
        self.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, words VARCHAR(20) NOT NULL)")
        self.execute(f"INSERT INTO {TABLE} VALUES (1, 'somebody else')")

    def ask(self, statement: str) -> list[tuple]:
        """Return the rows that *statement* answers."""
        engine = sa.create_engine(sync_url(self.url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            done = connection.exec_driver_sql(statement)
            return [tuple(row) for row in done] if done.returns_rows else []

    def execute(self, statement: str) -> None:
        """Run one *statement*."""
        self.ask(statement)


class ServedSql(SqlBackend):
    """A database with a server of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.new_database()


class SqliteBackend(SqlBackend):
    """A file: no server, which could hang or stop."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tasker-health-ledger-"))
        self._file = self._folder / "app.sqlite"
        self.url = f"sqlite:///{self._file}"
        self.ask("SELECT 1")

    def ask(self, statement: str) -> list[tuple]:
        """Return the rows that *statement* answers."""
        with closing(sqlite3.connect(self._file, timeout=PATIENCE_SECONDS, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    def end(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)


class RedisBackend(LedgerBackend):
    """A hash."""

    server: RedisServer
    _hash = f"{{{NAMESPACE}:workers}}"

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def ledger(
        self, timeout_seconds: float = PATIENCE_SECONDS, forget_after_seconds: float = FORGET_SECONDS
    ) -> RedisLedger:
        """Return a new client."""
        connection = redis_connection_at(self.server.url, timeout_seconds=timeout_seconds)
        return RedisLedger(connection, namespace=NAMESPACE, forget_after_seconds=forget_after_seconds)

    def clear(self) -> None:
        """Remove everything."""
        self.server.ask("FLUSHALL")

    def move(self, worker_id: str, seconds: float) -> None:
        """Write another time, in both places."""
        at, _, document = self.server.ask("HGET", self._hash, worker_id).decode().partition(",")
        moved = f"{float(at.removeprefix('[')) + seconds:.6f}"
        self.server.ask("HSET", self._hash, worker_id, f"[{moved},{document}")
        self.server.ask("ZADD", f"{self._hash}:times", moved, worker_id)

    def spoil(self, worker_id: str) -> None:
        """Write another value."""
        self.server.ask("HSET", self._hash, worker_id, "none of ours")

    def occupy(self) -> None:
        """Lay a string where the hash would be."""
        self.server.ask("SET", self._hash, "somebody else")


def postgresql() -> LedgerBackend:
    """Return a PostgreSQL of the suite's own."""
    return ServedSql(PostgresServer())


def mariadb() -> LedgerBackend:
    """Return a MariaDB of the suite's own."""
    return ServedSql(MariaDbServer())


def redis() -> LedgerBackend:
    """Return a Redis."""
    return RedisBackend(RedisServer())


def valkey() -> LedgerBackend:
    """Return a Valkey."""
    return RedisBackend(ValkeyServer())


@contextlib.asynccontextmanager
async def opened(backend: LedgerBackend, timeout_seconds: float = PATIENCE_SECONDS, **options):
    """Give a new client, closed at the end."""
    ledger = backend.ledger(timeout_seconds, **options)
    try:
        yield ledger
    finally:
        await ledger.close()
