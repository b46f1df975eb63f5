"""Databases that hang on demand: a user's test sees `timeout`, and the recovery."""

from __future__ import annotations

import socket
import sqlite3
import time
from types import SimpleNamespace

import pytest

from tasker_health import Health
from tasker_health.testing import (
    HangingDatabase,
    HangingSqlite,
    HealthClient,
    assert_not_ready,
    assert_ready,
    settings_of,
)


@pytest.fixture
def file(tmp_path):
    """A file of SQLite."""
    with HangingSqlite(tmp_path / "orders.sqlite") as database:
        yield database


def test_a_locked_file_is_a_timeout_within_the_deadline_and_recovers(file):
    """Whatever the state in which it is asked first."""
    settings = settings_of(
        database={"url": file.url}, health={"readiness_max_age_seconds": 0, "readiness_timeout_seconds": 0.3}
    )
    with HealthClient(Health(settings)) as client:
        for _ in range(2):
            assert_ready(client)
            file.hang()
            file.hang()
            began = time.monotonic()
            body = assert_not_ready(client, failed=["database"])
            assert time.monotonic() - began < 5
            assert body["checks"]["database"]["reason"] == "timeout"
            file.release()
            file.release()
        assert_ready(client)


def test_a_file_that_exists_keeps_what_is_in_it(tmp_path):
    """It may be the user's own."""
    path = tmp_path / "own.sqlite"
    own = sqlite3.connect(path)
    own.execute("CREATE TABLE orders (id INTEGER)")
    own.execute("INSERT INTO orders VALUES (7)")
    own.commit()
    with HangingSqlite(path) as database:
        database.hang()
    assert own.execute("SELECT id FROM orders").fetchall() == [(7,)]
    own.close()


def test_a_write_ahead_log_is_refused(tmp_path):
    """A lock that holds up no reader would make a test that cannot fail."""
    path = tmp_path / "wal.sqlite"
    own = sqlite3.connect(path)
    own.execute("PRAGMA journal_mode = wal")
    own.close()
    with pytest.raises(ValueError, match="journal_mode is wal"):
        HangingSqlite(path)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql+psycopg://user:p%40ss@127.0.0.1:{port}/orders?sslmode=disable", "user:p%40ss@"),
        ("redis://127.0.0.1:{port}/0", ""),
        ("mysql+aiomysql://user@127.0.0.1:{port}/orders", "user@"),
    ],
)
def test_the_url_is_the_same_with_the_proxy_in_it(url, kept):
    """Who asks, what for and how stay."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        HangingDatabase(url.format(port=server.getsockname()[1])) as database,
    ):
        scheme, _, rest = url.partition("://")
        port = database.url.split("127.0.0.1:")[1].split("/")[0]
        assert database.url == f"{scheme}://{kept}127.0.0.1:{port}/{rest.partition('/')[2]}"
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            there, _ = server.accept()
            client.sendall(b"hello")
            assert there.recv(5) == b"hello"
            there.close()


@pytest.mark.parametrize("url", ["postgresql:///orders", "sqlite:////tmp/orders", "mongodb://127.0.0.1/orders"])
def test_a_url_without_a_server_is_refused(url):
    """With what it must have."""
    with pytest.raises(ValueError, match="write both, as in scheme://host:port/name"):
        HangingDatabase(url)


def test_the_usual_ports_are_known(monkeypatch):
    """Where the URL has none."""
    asked = []

    def proxy(port, host):
        asked.append((port, host))
        return SimpleNamespace(port=1)

    monkeypatch.setattr("tasker_health.testing.database.FaultyProxy", proxy)
    assert HangingDatabase("postgresql+asyncpg://database.internal/orders").url.endswith("127.0.0.1:1/orders")
    assert asked == [(5432, "database.internal")]
