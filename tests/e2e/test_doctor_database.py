"""`tasker-health doctor database` as an operator types it, against real servers, well and in trouble."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
import sqlalchemy as sa

import canary
from command import run
from pgbouncer import PgBouncer
from server import free_port

WRONG = canary.secret("wrong")
LONGEST_SECONDS = 20
"""Ten by promise; the interpreter starts too, on a machine that others use."""


def examine(url, *arguments, **variables):
    """Return the code and the findings by name."""
    done = run("doctor", "database", "--json", *arguments, TASKER_DATABASE__URL=url, **variables)
    assert done.stderr == "", done.stderr
    return done.returncode, {found["what"]: found for found in json.loads(done.stdout)}


def verdicts(findings):
    """Return what was thought not well, by name."""
    return {what: found["verdict"] for what, found in findings.items() if found.get("verdict", "ok") != "ok"}


def test_postgresql_is_measured_with_figures(postgres_database):
    """Everything is looked at, and nothing is to be changed; the server's own keepalive is worth a note at most."""
    code, found = examine(postgres_database)
    assert code == 0
    assert verdicts(found).keys() <= {"server's keepalive"}
    assert set(found) == {
        *("query", "server", "connections", "transport", "keepalive", "statement time-out", "idle connections"),
        *("server's keepalive", "writing", "clocks", "pooler", "prepared statements", "connect", "pool"),
    }
    assert 0 < found["query"]["figures"]["query_ms_p50"] <= found["query"]["figures"]["query_ms_p99"]
    assert found["connect"]["figures"]["connect_ms_median"] > 0
    assert found["pool"]["figures"]["pool_size"] == 5
    assert found["connections"]["figures"]["connections_maximum"] == 100
    assert abs(found["clocks"]["figures"]["clock_difference_s"]) < 1
    assert found["pooler"]["measured"].startswith("none")
    assert found["prepared statements"]["measured"].startswith("on")


def test_what_is_set_badly_is_found_with_its_remedy(own_postgres):
    """Idle sessions that are ended, a server that takes few connections, one that refuses writes; in words too."""
    own_postgres.execute(
        "ALTER SYSTEM SET max_connections = 12",
        "ALTER SYSTEM SET superuser_reserved_connections = 3",
        "ALTER SYSTEM SET idle_session_timeout = '30s'",
        "ALTER SYSTEM SET default_transaction_read_only = on",
    )
    own_postgres.stop()
    own_postgres.start()
    variables = {"TASKER_DATABASE__REQUIRE_WRITABLE": "true", "TASKER_DATABASE__POOL_SIZE": "20"}
    code, found = examine(own_postgres.url, **variables)
    assert code == 1
    changes = {what for what, verdict in verdicts(found).items() if verdict == "warning"}
    assert changes == {"idle connections", "writing", "pool"}
    assert "has 8 left" in found["pool"]["measured"]
    done = run("doctor", "database", TASKER_DATABASE__URL=own_postgres.url, COLUMNS="200", **variables)
    assert (done.returncode, "idle_session_timeout = 0" in done.stdout) == (1, True)


@pytest.mark.parametrize("size", [1, 5])
def test_a_pooler_in_transaction_mode_is_seen(postgres, postgres_database, size):
    """Also one that lends a single connection: prepared statements are to be switched off; then all is well."""
    bouncer = PgBouncer(postgres, default_pool_size=size)
    try:
        url = bouncer.url_for(postgres_database)
        code, found = examine(url)
        assert (code, found["prepared statements"]["verdict"]) == (1, "warning")
        assert "TASKER_DATABASE__PREPARED_STATEMENTS=false" in found["prepared statements"]["remedy"]
        assert "transaction mode" in found["pooler"]["measured"]
        code, found = examine(url, TASKER_DATABASE__PREPARED_STATEMENTS="false")
        assert (code, found["prepared statements"]["measured"][:3]) == (0, "off")
    finally:
        bouncer.end()


def test_a_pooler_in_session_mode_is_told_from_it(postgres, postgres_database):
    """There nothing needs to be changed."""
    bouncer = PgBouncer(postgres, "session")
    try:
        code, found = examine(bouncer.url_for(postgres_database))
        assert (code, "session mode" in found["pooler"]["measured"]) == (0, True)
    finally:
        bouncer.end()


def test_mariadb_is_measured(mariadb_database, own_mariadb):
    """All well as it comes; a time for idle connections that is too short is found."""
    code, found = examine(mariadb_database)
    assert (code, verdicts(found)) == (0, {})
    assert {"connections", "idle connections", "keepalive", "proxy", "clocks", "pool"} <= set(found)
    own_mariadb.execute("SET GLOBAL wait_timeout = 20", "SET GLOBAL read_only = 1")
    code, found = examine(own_mariadb.url)
    assert (code, verdicts(found)) == (1, {"idle connections": "warning", "writing": "note"})


def test_sqlite_is_measured(tmp_path):
    """A journal that makes readers wait is found; in WAL mode all is well. Nothing is changed by looking."""
    file = tmp_path / "app.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE one (n)")
    connection.commit()
    code, found = examine(f"sqlite:///{file}")
    assert (code, {what for what, verdict in verdicts(found).items() if verdict == "warning"}) == (1, {"journal"})
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    code, found = examine(f"sqlite:///{file}")
    assert (code, found["pool"]["figures"]["pool_size"]) == (0, 5)


def cannot_ask(url, **variables):
    """Return the one line, told with code 2 and in time."""
    began = time.monotonic()
    done = run("doctor", "database", TASKER_DATABASE__URL=url, **variables)
    assert time.monotonic() - began < LONGEST_SECONDS
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    return done.stderr


@pytest.mark.parametrize(("fixture", "connect_seconds"), [("own_postgres", "60"), ("own_mariadb", "2")])
def test_a_server_that_is_paused_is_said_in_time(fixture, connect_seconds, request):
    """`timeout`, in one line, also where connecting may take longer than the doctor has."""
    server = request.getfixturevalue(fixture)
    server.pause()
    assert ": timeout:" in cannot_ask(server.url, TASKER_DATABASE__CONNECT_TIMEOUT_SECONDS=connect_seconds)
    server.resume()


def test_what_cannot_be_asked_is_one_line_without_a_secret(postgres, tmp_path):
    """No URL, nobody there, a wrong password, no such database, no such file: the reason and what to do."""
    done = run("doctor", "database")
    assert (done.returncode, "database.url" in done.stderr, done.stderr.count("\n")) == (2, True, 1)
    assert ": refused:" in cannot_ask(f"postgresql://somebody:{WRONG}@127.0.0.1:{free_port()}/nowhere")
    assert ": authentication_failed:" in cannot_ask(postgres.url_of("postgres", password=WRONG))
    nowhere = sa.make_url(postgres.url).set(database="nowhere").render_as_string(hide_password=False)
    assert ": missing:" in cannot_ask(nowhere)
    assert ": missing:" in cannot_ask(f"sqlite:///{tmp_path}/nothing.sqlite")
    assert not (tmp_path / "nothing.sqlite").exists()
