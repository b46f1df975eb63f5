"""What the endpoints say while the database is in trouble, and that they recover without a restart."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import canary
from faulty_proxy import FaultyProxy
from served import Served, served
from server import sync_url

WRONG, PROBER = canary.secret("wrong"), canary.secret("prober")
WELL = (200, "ok", None)


@contextlib.contextmanager
def live_throughout(server: Served) -> Iterator[None]:
    """Ask `/live` again and again meanwhile; every answer must be 200."""
    codes: list[int] = []
    over = threading.Event()

    def ask() -> None:
        import httpx

        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                codes.append(client.get(f"{server.url}/live").status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert len(codes) > 5
    assert set(codes) == {200}


def assert_nothing_leaked(server: Served, *secrets: str) -> None:
    """No body and no line of the log has a secret; no body has the words of a driver."""
    for body in server.bodies:
        for words in (*secrets, "psycopg", "OperationalError", "SELECT", "127.0.0.1", "password", "tester"):
            assert words not in body
    for secret in secrets:
        assert secret not in server.log


@pytest.fixture(params=["own_postgres", "own_mariadb"])
def database(request: pytest.FixtureRequest) -> Any:
    """A database server of the test's own."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("pause", {"timeout"}),
        ("stop", {"refused"}),
        ("kill", {"refused"}),
    ],
)
def test_a_server_that_is_away_is_not_ready_and_alive_and_comes_back(database, fault, reasons):
    """Stopped by SIGSTOP, ended in order, killed: 503 with the reason, alive throughout, ready after its return."""
    with served(TASKER_DATABASE__URL=database.url) as server:
        server.becomes("database", *WELL)
        with live_throughout(server):
            getattr(database, fault)()
            for reason in reasons:
                server.becomes("database", 503, "error", reason)
            assert server.ready()["failed_checks"] == ["database"]
            (database.resume if fault == "pause" else database.start)()
            server.becomes("database", *WELL)
        assert_nothing_leaked(server, database.password)


@pytest.mark.parametrize(
    ("mode", "reason"), [("blackhole", "timeout"), ("refuse", "refused"), ("reset", "unreachable")]
)
def test_a_path_that_fails_is_not_ready_and_comes_back(database, mode, reason):
    """A network that swallows, refuses or resets has its reason, and none of it outlasts the fault."""
    with FaultyProxy(database.port) as proxy, served(TASKER_DATABASE__URL=proxy.url_for(database.url)) as server:
        server.becomes("database", *WELL)
        with live_throughout(server):
            proxy.set(mode)
            server.becomes("database", 503, "error", reason)
            proxy.set("pass")
            server.becomes("database", *WELL)
        assert_nothing_leaked(server, database.password)


def test_a_wrong_password_is_said_as_such(request, database):
    """`authentication_failed`; neither the wrong password nor the right one leaves."""
    wrong = sa.make_url(database.url).set(password=WRONG).render_as_string(hide_password=False)
    with served(TASKER_DATABASE__URL=wrong) as server:
        server.becomes("database", 503, "error", "authentication_failed")
        assert server.get("live").status_code == 200
        assert_nothing_leaked(server, WRONG, database.password)


def test_a_database_that_is_not_there_is_missing(database):
    """The server answers, the database does not exist."""
    nowhere = sa.make_url(database.url).set(database="nowhere").render_as_string(hide_password=False)
    with served(TASKER_DATABASE__URL=nowhere) as server:
        server.becomes("database", 503, "error", "missing")
        database.execute("CREATE DATABASE nowhere")
        server.becomes("database", *WELL)
        assert_nothing_leaked(server, database.password)


def test_a_server_without_free_connections_is_said_as_such(own_postgres):
    """`too_many_connections` while others hold them all, ready when they let go."""
    own_postgres.execute("ALTER SYSTEM SET max_connections = 12", "ALTER SYSTEM SET superuser_reserved_connections = 1")
    own_postgres.stop()
    own_postgres.start()
    own_postgres.execute(f"CREATE ROLE prober LOGIN PASSWORD '{PROBER}'")
    engine = sa.create_engine(sync_url(own_postgres.url), poolclass=sa.NullPool)
    held = []
    with contextlib.suppress(sa.exc.OperationalError):
        held.extend(engine.connect() for _ in range(20))
    url = own_postgres.url_of("postgres", user="prober", password=PROBER)
    try:
        while True:
            try:
                held.append(engine.connect())
            except sa.exc.OperationalError:
                break
        with served(TASKER_DATABASE__URL=url) as server:
            server.becomes("database", 503, "error", "too_many_connections")
            while held:
                held.pop().close()
            server.becomes("database", *WELL)
            assert_nothing_leaked(server, PROBER)
    finally:
        while held:
            held.pop().close()


READ_ONLY: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
    "postgresql": (
        lambda server: server.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
        lambda server: server.execute(
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        ),
    ),
    "mariadb": (
        lambda server: server.execute("SET GLOBAL read_only = 1"),
        lambda server: server.execute("SET GLOBAL read_only = 0"),
    ),
}


def test_a_read_only_server_is_an_error_only_where_writing_is_required(database):
    """With `require_writable` 503 `read_only`, without it ready."""
    set_it, reset_it = READ_ONLY[database.backend]
    with (
        served(TASKER_DATABASE__URL=database.url, TASKER_DATABASE__REQUIRE_WRITABLE="true") as strict,
        served(TASKER_DATABASE__URL=database.url) as lenient,
    ):
        strict.becomes("database", *WELL)
        set_it(database)
        strict.becomes("database", 503, "error", "read_only")
        assert lenient.reason("database") == WELL
        reset_it(database)
        strict.becomes("database", *WELL)


def test_a_sqlite_file_that_is_missing_is_not_made_and_comes_back(tmp_path):
    """`missing`, the file is not created by asking; deleted while open it is noticed; put back it is ready."""
    file = tmp_path / "app.sqlite"
    with served(TASKER_DATABASE__URL=f"sqlite:///{file}") as server:
        server.becomes("database", 503, "error", "missing")
        assert not file.exists()
        sqlite3.connect(file).close()
        server.becomes("database", *WELL)
        file.unlink()
        server.becomes("database", 503, "error", "missing")
        sqlite3.connect(file).close()
        server.becomes("database", *WELL)


def test_a_sqlite_file_that_is_locked_or_broken_has_its_reason(tmp_path):
    """Locked: `timeout`; no database: `invalid`; each is over when it is over."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    with served(TASKER_DATABASE__URL=f"sqlite:///{file}") as server, live_throughout(server):
        server.becomes("database", *WELL)
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        server.becomes("database", 503, "error", "timeout")
        writer.execute("ROLLBACK")
        server.becomes("database", *WELL)
        writer.close()
        file.unlink()
        file.write_bytes(b"no database at all, but long enough for a header " * 40)
        server.becomes("database", 503, "error", "invalid")
        file.unlink()
        sqlite3.connect(file).close()
        server.becomes("database", *WELL)


def test_a_read_only_sqlite_file_is_an_error_only_where_writing_is_required(tmp_path):
    """Opened for reading only it is ready without `require_writable`, and `read_only` with it."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    url = f"sqlite:///file:{file}?mode=ro&uri=true"
    with served(TASKER_DATABASE__URL=url) as lenient:
        lenient.becomes("database", *WELL)
    with served(TASKER_DATABASE__URL=url, TASKER_DATABASE__REQUIRE_WRITABLE="true") as strict:
        strict.becomes("database", 503, "error", "read_only")
    writable = {"TASKER_DATABASE__URL": f"sqlite:///{file}", "TASKER_DATABASE__REQUIRE_WRITABLE": "true"}
    with served(**writable) as strict:
        strict.becomes("database", *WELL)
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert strict.reason("database") == WELL


def test_a_source_that_is_away_is_said_in_the_status(tmp_path):
    """Never read: 503, figures null; the file appears without tables: still so, with its reason."""
    file = tmp_path / "work.sqlite"
    variables = {"TASKER_SOURCES__SHOP__KIND": "dbos", "TASKER_SOURCES__SHOP__URL": f"sqlite:///{file}"}
    with served(**variables, TASKER_MIGRATIONS__KIND="none") as server:
        response = server.get("status")
        body = response.json()
        assert (response.status_code, body["status"], body["reasons"]) == (503, "unhealthy", ["source_unreadable"])
        assert (body["sources"]["shop"]["reason"], body["system_health"]["total_tasks"]) == ("missing", None)
        sqlite3.connect(file).close()
        assert server.get("status").json()["sources"]["shop"]["reason"] == "missing"
        assert server.get("ready").status_code == 200
        shutil.rmtree(tmp_path, ignore_errors=True)
