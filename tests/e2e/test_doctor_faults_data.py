"""The doctor's first finding names each fault of the data parts, and what it says to do makes it green."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import NamedTuple

import psycopg
import pytest
import sqlalchemy as sa

import canary
from caches import RedisServer
from command import run
from contract import tasker_schema
from faulty_proxy import FaultyProxy
from installation import Installation, doctor
from pgbouncer import PgBouncer
from server import free_port
from tasker_health import Health, load_settings

WRONG = canary.secret("wrong")
OTHER_KEY = canary.secret("other")

WELL, WARNED, ERRED = 0, 1, 2


@pytest.fixture
def installed(postgres_database, tmp_path):
    """An installation that is well, its facts in memory."""
    return Installation(postgres_database, tmp_path)


@pytest.fixture
def at(installed, redis_cache):
    """The same with a cache that is shared."""
    installed.share_cache(redis_cache.url)
    installed.redis = redis_cache
    return installed


@pytest.fixture(scope="module")
def redis_cache():
    """A Redis that the tests of this file share; each leaves it as it was."""
    server = RedisServer()
    yield server
    server.end()


class Fault(NamedTuple):
    """A fault, where it is found, and what is done about it.

    Attributes:
        name: What is wrong.
        inflict: Breaks it; returns what carries out the remedy.
        part, what: Of the first finding.
        measured: Words of what was seen.
        remedy: The words that are carried out.
        code: The exit code.
        trouble: Which of the guide's it is.
    """

    name: str
    inflict: object
    part: str
    what: str
    measured: str
    remedy: str
    code: int = ERRED
    trouble: str = ""


def _url(installed, **changed):
    """Let database.url lead elsewhere; the remedy corrects it."""
    url = sa.make_url(installed.url).set(**changed).render_as_string(hide_password=False)
    right = installed.set("database.url", url)
    return lambda _remedy: installed.set("database.url", right)


def _setting(name, value, right):
    def inflict(installed):
        installed.set(name, value)
        return lambda _remedy: installed.set(name, right) if right else installed.variables.popitem()

    return inflict


def _sql(statement, remedy):
    def inflict(installed):
        installed.execute(statement)
        return lambda _remedy: installed.execute(remedy)

    return inflict


def _pending(installed):
    installed.revise("two", "one")
    return installed.type


def _no_version_table(installed):
    installed.execute("DROP TABLE alembic_version")
    return installed.type


def _ahead(installed):
    installed.execute("UPDATE alembic_version SET version_num = 'two'")
    return lambda _remedy: installed.revise("two", "one")


def _no_tables(installed):
    tables = ", ".join(tasker_schema.TABLES)
    installed.execute(f"DROP TABLE {tables} CASCADE")

    def make(_remedy):
        with installed.engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            tasker_schema.create(connection)

    return make


def _clock_off(installed):
    """A database whose clock goes an hour behind, as far as anybody can tell who asks it."""
    name = sa.make_url(installed.url).database
    installed.execute(
        "CREATE SCHEMA late",
        "CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        " $$SELECT pg_catalog.clock_timestamp() - interval '1 hour'$$",
        f"ALTER DATABASE {name} SET search_path = late, pg_catalog, public",
    )
    return lambda _remedy: installed.execute(f"ALTER DATABASE {name} RESET search_path")


DATABASE_FAULTS = [
    Fault(
        *("wrong port", lambda i: _url(i, port=free_port()), "database", "path", "refused: "),
        "correct host and port of database.url",
    ),
    Fault(
        *("wrong password", lambda i: _url(i, password=WRONG), "database", "path", "authentication_failed: "),
        "correct user and password of database.url",
    ),
    Fault(
        *("no such database", lambda i: _url(i, database="nowhere"), "database", "path", "missing: "),
        "correct database.url",
    ),
    Fault("migration pending", _pending, "migrations", "schema", "pending: not applied: two", "alembic -c "),
    Fault("no version table", _no_version_table, "migrations", "schema", "no version table", "alembic -c "),
    Fault("database ahead", _ahead, "migrations", "schema", "ahead: ", "put the code there", WARNED),
    Fault("clock off by an hour", _clock_off, "clock", "database's", "behind this machine", "by NTP"),
    Fault("no tables of the source", _no_tables, "sources", "work", "missing: ", "have the engine make its tables"),
    Fault(
        "unknown version of the source",
        _sql(
            "INSERT INTO schema_migrations VALUES ('29990101000000')",
            "DELETE FROM schema_migrations WHERE version = '29990101000000'",
        ),
        *("sources", "work", "unknown_version: ", "the engine's version before"),
    ),
    Fault(
        "no tally",
        _sql(
            "ALTER SEQUENCE tasker_task_transitions_id_seq CACHE 50",
            "ALTER SEQUENCE tasker_task_transitions_id_seq CACHE 1",
        ),
        *("sources", "work: method", "everything is counted each time", "CACHE 1", WARNED, "slow answers"),
    ),
    Fault(
        "no cache",
        _setting("health.cache_duration_seconds", "0", "15"),
        *("cache", "time to live", "every status is read anew", "health.cache_duration_seconds = 15", WARNED),
        "cache not working",
    ),
    Fault(
        "unknown setting",
        _setting("server.prot", "80", ""),
        *("settings", "TASKER_SERVER__PROT", "80", "did you mean port?"),
    ),
    Fault(
        "settings that contradict one another",
        _setting("health.cache_duration_seconds", "90", "15"),
        *("settings", "health.cache_duration_seconds", "is not less than", "15 is usual", WARNED),
    ),
]


def check(fault, installed, capsys, monkeypatch):
    """The first finding is of *fault*; its remedy, carried out, leaves nothing to be changed."""
    carry_out = fault.inflict(installed)
    code, report = doctor(capsys, monkeypatch, installed.variables)
    first = report["findings"][0]
    assert (first["part"], first["what"], code) == (fault.part, fault.what, fault.code), report["findings"]
    assert fault.measured in first["measured"]
    assert fault.remedy in first["remedy"]
    assert first["trouble"] == fault.trouble
    assert report["verdict"] == {WARNED: "warning", ERRED: "error"}[code]
    wrong = [each for each in report["findings"] if each["verdict"] == first["verdict"]]
    # Its consequences are not told as faults of their own; what is slow may be so in more than one way.
    assert len(wrong) == 1 or {each["trouble"] for each in wrong} == {"slow answers"}, wrong
    carry_out(first["remedy"])
    code, report = doctor(capsys, monkeypatch, installed.variables)
    assert code == WELL, report["findings"][:3]


@pytest.mark.parametrize("fault", DATABASE_FAULTS, ids=[fault.name for fault in DATABASE_FAULTS])
def test_a_fault_is_found_first_and_mended_as_it_says(fault, installed, capsys, monkeypatch):
    """Named by part and thing, with a remedy that makes the doctor green when it is carried out."""
    check(fault, installed, capsys, monkeypatch)


def _moved(installed):
    right = installed.set("cache.url", f"redis://127.0.0.1:{free_port()}/0")
    return lambda _remedy: installed.set("cache.url", right)


def _full(installed):
    installed.redis.ask("CONFIG", "SET", "maxmemory", "1kb")
    return lambda _remedy: installed.redis.ask("CONFIG", "SET", "maxmemory", "0")


def _replica(installed):
    installed.redis.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    return lambda _remedy: installed.redis.ask("REPLICAOF", "NO", "ONE")


def _signed_by_another(installed):
    """A process with another key has told the fleet what it read."""
    ours = installed.set("cache.signing_key", OTHER_KEY)

    async def tell():
        health = Health(load_settings(environ=installed.variables))
        await health.status()
        await health.stop()

    asyncio.run(tell())
    installed.set("cache.signing_key", ours)
    return lambda _remedy: installed.set("cache.signing_key", OTHER_KEY)


TROUBLE = "cache not working"
CACHE_FAULTS = [
    Fault("cache away", _moved, "cache", "path", "refused: ", "correct host and port in cache.url", ERRED, TROUBLE),
    Fault("cache full", _full, "cache", "write", "maxmemory", "is it full", ERRED, TROUBLE),
    Fault("cache a replica", _replica, "cache", "write", "read_only: ", "name the primary", ERRED, TROUBLE),
    Fault(
        *("another key", _signed_by_another, "cache", "entry of work", "not believed (signature)"),
        *("the same cache.signing_key", WARNED, TROUBLE),
    ),
]


@pytest.mark.parametrize("fault", CACHE_FAULTS, ids=[fault.name for fault in CACHE_FAULTS])
def test_a_fault_of_the_cache_is_found_first_and_mended_as_it_says(fault, at, capsys, monkeypatch):
    """Each of them is told as the guide's trouble, with which and why."""
    check(fault, at, capsys, monkeypatch)


def test_a_database_that_is_far_away_is_why_answers_are_slow(installed, postgres, capsys, monkeypatch):
    """The query is what is named, with its milliseconds; nearer to it all is well."""
    with FaultyProxy(postgres.port) as proxy:

        def far(installed):
            for name in ("TASKER_SOURCES__WORK__KIND", "TASKER_MIGRATIONS__KIND", "TASKER_MIGRATIONS__LOCATION"):
                del installed.variables[name]
            proxy.set("slow", delay_seconds=0.01)
            right = installed.set("database.url", proxy.url_for(installed.url))
            patient = installed.set("health.readiness_timeout_seconds", "0.2")
            installed.set("database.connect_timeout_seconds", "30")

            def nearer(_remedy):
                installed.set("health.readiness_timeout_seconds", patient)
                return installed.set("database.url", right)

            return nearer

        words = "p50 ", "ask from nearer to the database", WARNED, "slow answers"
        check(Fault("far away", far, "database", "query", *words), installed, capsys, monkeypatch)


def test_a_server_without_a_free_connection_is_told_by_the_pool(own_postgres, tmp_path, capsys, monkeypatch):
    """Not as a database that is away; who lets go of them makes it green."""
    installed = Installation(own_postgres.new_database(), tmp_path)
    own_postgres.execute("ALTER SYSTEM SET max_connections = 30")
    own_postgres.stop()
    own_postgres.start()

    def take_all(_installed):
        held = []
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                held.append(psycopg.connect(own_postgres.url))

        def let_go(_remedy):
            for connection in held:
                connection.close()

        return let_go

    words = "too_many_connections: ", "close what others leave open", ERRED, "slow answers"
    check(Fault("no connections left", take_all, "pool", "connections", *words), installed, capsys, monkeypatch)


def test_a_pooler_without_room_is_told_by_the_pool(installed, postgres, capsys, monkeypatch):
    """PgBouncer beyond its `max_client_conn`: neither a database that is away, nor a fault of its own kind."""
    bouncer = PgBouncer(postgres, max_client_conn=40)
    url = bouncer.url_for(installed.url)
    installed.set("database.url", url)
    installed.set("database.prepared_statements", "false")
    try:

        def take_all(_installed):
            held = []
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.append(psycopg.connect(url))

            def let_go(_remedy):
                for connection in held:
                    connection.close()

            return let_go

        words = "too_many_connections: ", "close what others leave open", ERRED, "slow answers"
        check(Fault("no room at the pooler", take_all, "pool", "connections", *words), installed, capsys, monkeypatch)
    finally:
        bouncer.end()


def test_clocks_are_compared_with_the_cache_too(at, capsys, monkeypatch):
    """One of Redis that goes as ours does is well, with how far they are apart."""
    _, report = doctor(capsys, monkeypatch, at.variables, "--part", "clock")
    found = {each["what"]: each for each in report["findings"]}
    assert found["cache's"]["verdict"] == found["database's"]["verdict"] == "ok"
    assert abs(found["cache's"]["figures"]["clock_difference_s"]) < 1


def test_the_command_prints_a_table_the_worst_first_and_sums_up(installed):
    """Errors, then warnings, then what is well; a last line counts them, and a line names the guide's trouble."""
    _url(installed, port=free_port())
    installed.set("health.cache_duration_seconds", "0")
    done = run("doctor", COLUMNS="240", **installed.variables)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (ERRED, "")
    assert lines[0].split() == ["part", "what", "measured", "verdict", "remedy"]
    assert [line.split()[0] for line in lines if line[0] != " "][1:3] == ["database", "cache"]
    assert lines[-1] == "1 error, 1 warning; exit code 2"
    assert "cache not working: because of cache, time to live" in lines
    assert "not looked at: database" in done.stdout


def test_one_part_is_looked_at_alone_and_an_unknown_one_refused():
    """By name, with what it finds only."""
    done = run("doctor", "--part", "cache", "--json")
    assert {each["part"] for each in json.loads(done.stdout)["findings"]} == {"cache"}
    assert done.returncode == WELL
    done = run("doctor", "--part", "cach")
    assert (done.returncode, done.stderr.count("\n"), "known are settings" in done.stderr) == (2, 1, True)
    done = run("doctor", "--json", "cache")
    assert (done.returncode, "after cache" in done.stderr) == (2, True)
