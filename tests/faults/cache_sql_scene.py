"""Where the cache in SQL is in trouble: a PostgreSQL, and a file of SQLite."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

import canary
from contract.cache_backend import Recipe
from faults.cache_scene import PATIENCE_SECONDS, CacheScene
from faults.cache_stranger import NOISE
from servers import PostgresServer
from tasker_health.cache.sql_table import TABLE


class PostgresScene(CacheScene):
    """A database of its own, on a PostgreSQL that is shared with other scenes, or is not.

    Args:
        server: The shared one; without it there is one for this scene.
        is_proxied: Whether the application reaches it through a proxy.
    """

    more_connections = 1

    def __init__(self, server: PostgresServer | None = None, *, is_proxied: bool = False) -> None:
        self._is_owner = server is None
        super().__init__(server or PostgresServer(), is_proxied=is_proxied)
        self._database = self.server.new_database()
        self._name = sa.make_url(self._database).database
        self._role, self._password = f"role_{self._name}", canary.secret("role")
        self.server.execute(f"CREATE ROLE {self._role} LOGIN PASSWORD '{self._password}'")
        self.execute(f"GRANT ALL ON SCHEMA public TO {self._role}")

    def execute(self, *statements: str) -> None:
        """Run *statements* in its database."""
        self.server.execute(*statements, database=self._name)

    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""
        url = self.server.url_of(self._name, user=self._role, password=self._password)
        if self.proxy is not None:
            url = self.proxy.url_for(url)
        return Recipe("contract.sql_backend", "sql_cache", {"url": url, "timeout_seconds": timeout_seconds})

    def connections(self) -> int:
        """Return how many connections the application has, as the server counts them itself."""
        with psycopg.connect(self.server.url) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
            return connection.execute(query, [self._role]).fetchone()[0]

    def empty(self) -> None:
        """Remove whatever it holds."""
        self.execute(f"DELETE FROM {TABLE}")

    def restart(self) -> None:
        """End it as a crash does, and start it again: the table is not logged, so it is empty then."""
        self.server.kill()
        self.server.start()

    def forbid_writing(self) -> None:
        """Have every new transaction read only."""
        self._send_away(f"ALTER ROLE {self._role} SET default_transaction_read_only = on")

    def allow_writing(self) -> None:
        """Let transactions write again."""
        self._send_away(f"ALTER ROLE {self._role} RESET default_transaction_read_only")

    def change_password(self) -> None:
        """Give the application's role another password, and send it away."""
        self._send_away(f"ALTER ROLE {self._role} PASSWORD '{canary.secret('new-role')}'")

    def restore_password(self) -> None:
        """Give the role the password that the application knows."""
        self.server.execute(f"ALTER ROLE {self._role} PASSWORD '{self._password}'")

    def alter_rows(self) -> None:
        """Have somebody write noise over each row, again and again."""
        self.repeat(lambda: self.execute(f"UPDATE {TABLE} SET value = '\\x{NOISE.hex()}' WHERE holder IS NULL"))

    def _send_away(self, statement: str) -> None:
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self._role}'"
        self.server.execute(statement, end)

    def close(self) -> None:
        """End what is this scene's alone."""
        if self._is_owner:
            super().close()
        else:
            self.server, server = _Nobody(), self.server
            super().close()
            server.drop_database(self._database)


class _Nobody:
    """A server that is ended by somebody else."""

    def end(self) -> None:
        """Do nothing."""


class SqliteScene(CacheScene):
    """A file: there is no server and no connection; who disturbs it has the file, or its lock."""

    more_connections = 1
    ports: set[int] = set()  # type: ignore[assignment]  # noqa: RUF012 -- there are none

    def __init__(self) -> None:
        # In memory where that is possible: a disk that all share stops for longer than the trouble that is played.
        memory = next((each for each in ("/dev/shm",) if os.access(each, os.W_OK)), None)
        self._folder = Path(tempfile.mkdtemp(prefix="tasker-health-cache-", dir=memory))
        self._file = self._folder / "data" / "app.sqlite"
        self._aside = self._folder / "aside"
        self._lock: sqlite3.Connection | None = None
        self._pragma = ""
        self._file.parent.mkdir()
        super().__init__(_Nobody())
        self._connected().close()
        sa.event.listen(sa.Engine, "connect", self._on_connect)

    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""
        given = {"url": f"sqlite:///{self._file}", "timeout_seconds": timeout_seconds}
        return Recipe("contract.sql_backend", "sql_cache", given)

    def connections(self) -> int:
        """Return how often the file, or another one of its folder, is open."""
        names = []
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(each.readlink()))
        return sum(name.startswith(str(self._folder)) for name in names)

    def empty(self) -> None:
        """Remove whatever it holds."""
        with contextlib.closing(self._connected()) as connection:
            connection.execute(f"DELETE FROM {TABLE}")

    def restart(self) -> None:
        """Put a new and empty file in its place."""
        new = self._folder / "new"
        sqlite3.connect(new).close()
        new.replace(self._file)

    def lock(self) -> None:
        """Hold the lock of the whole file."""
        self._lock = self._connected()
        self._lock.execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        """Let others have the lock."""
        self._lock.close()

    def take_away(self) -> None:
        """Move the folder of the file away."""
        self._file.parent.rename(self._aside)

    def bring_back(self) -> None:
        """Bring the folder back."""
        self._aside.rename(self._file.parent)

    def spoil(self) -> None:
        """Put noise in its place."""
        self._put_in_place(NOISE)

    def constrain(self, pragma: str) -> None:
        """Put an empty file in its place, of which SQLite says what it does of a full disk, or of a read-only one."""
        self._pragma = pragma
        self._put_in_place(b"")

    def release(self) -> None:
        """Bring back what was moved aside."""
        self._pragma = ""
        self._aside.replace(self._file)

    def _put_in_place(self, content: bytes) -> None:
        other = self._folder / "other"
        other.write_bytes(content)
        self._aside.hardlink_to(self._file)
        other.replace(self._file)

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)

    def _on_connect(self, connection: Any, _record: object) -> None:
        """Set the pragma on a new connection of the application: a real disk is not filled for a test."""
        if not self._pragma or "sqlite" not in type(connection).__module__:
            return
        cursor = connection.cursor()
        cursor.execute("PRAGMA database_list")
        if any(row[2] == str(self._file) for row in cursor.fetchall()):
            cursor.execute(self._pragma)
        cursor.close()

    def close(self) -> None:
        """Remove it."""
        sa.event.remove(sa.Engine, "connect", self._on_connect)
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)
