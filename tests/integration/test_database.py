"""One connection to one database: deadlines that hold, through drivers that wait and drivers that block."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import threading
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry

from faulty_proxy import FaultyProxy
from tasker_health.database import Database
from tasker_health.errors import CheckFailed, ConfigurationError, DatabaseFault
from tasker_health.model import Reason

PATIENCE = 30

# A dialect whose driver only blocks and that we know nothing of: SQLite's own, under a name of its own.
registry.register("elsewhere", "sqlalchemy.dialects.sqlite.pysqlite", "SQLiteDialect_pysqlite")


def one(connection):
    """Ask for 1."""
    return connection.execute(sa.select(1)).scalar_one()


@pytest.fixture(params=["sqlite", "elsewhere", "postgresql", "mariadb"])
def database(request, tmp_path):
    """A database of every kind of driver."""
    if request.param in {"sqlite", "elsewhere"}:
        sqlite3.connect(tmp_path / "app.sqlite").close()
        return Database(f"{request.param}:///{tmp_path}/app.sqlite")
    fixture = {"postgresql": "postgres_database", "mariadb": "mariadb_database"}[request.param]
    return Database(request.getfixturevalue(fixture))


def test_it_answers_and_keeps_its_connection(database):
    """A question is answered; the next one goes over the same connection; after a close a new one is opened."""

    async def play():
        answers = [await database.run(one, deadline_seconds=PATIENCE) for _ in range(3)]
        await database.close()
        answers.append(await database.run(one, deadline_seconds=PATIENCE))
        await database.close()
        return answers

    assert asyncio.run(play()) == [1, 1, 1, 1]


def test_what_the_work_raises_reaches_the_asker(database):
    """An error of ours passes as it is; one of the driver's becomes a fault with its reason; then it goes on."""

    def refuse(connection):
        raise CheckFailed(Reason.READ_ONLY)

    def no_such_table(connection):
        connection.exec_driver_sql("SELECT * FROM nowhere")

    async def play():
        with pytest.raises(CheckFailed):
            await database.run(refuse, deadline_seconds=PATIENCE)
        with pytest.raises(DatabaseFault) as fault:
            await database.run(no_such_table, deadline_seconds=PATIENCE)
        answer = await database.run(one, deadline_seconds=PATIENCE)
        await database.close()
        return fault.value.reason, answer

    assert asyncio.run(play()) == (Reason.MISSING, 1)


def test_a_question_that_hangs_costs_its_deadline(database):
    """Whatever the driver: `timeout` at the deadline, and the next question is answered."""
    naps = {"postgresql": "SELECT pg_sleep(20)", "mariadb": "SELECT sleep(20)"}
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT count(*) FROM n"
    )

    def hang(connection):
        return connection.exec_driver_sql(naps.get(database.dialect, endless)).scalar()

    async def play():
        loop = asyncio.get_running_loop()
        await database.run(one, deadline_seconds=PATIENCE)
        began = loop.time()
        with pytest.raises(DatabaseFault) as fault:
            await database.run(hang, deadline_seconds=0.2)
        took = loop.time() - began
        ends_at = loop.time() + PATIENCE
        while True:
            try:
                answer = await database.run(one, deadline_seconds=PATIENCE)
                break
            except DatabaseFault:
                # The thread of a driver that only blocks is waited for, not joined by another one.
                if database.dialect != "elsewhere" or loop.time() > ends_at:
                    raise
                await asyncio.sleep(0.01)
        await database.close()
        return fault.value.reason, took, answer

    reason, took, answer = asyncio.run(play())
    assert (reason, answer) == (Reason.TIMEOUT, 1)
    assert took < 10


def test_a_driver_that_only_blocks_holds_one_thread(tmp_path):
    """While its call hangs, later askers are told `timeout` at once, and no further thread is started."""
    sqlite3.connect(tmp_path / "app.sqlite").close()
    database = Database(f"elsewhere:///{tmp_path}/app.sqlite")
    release = threading.Event()

    def hang(connection):
        release.wait(PATIENCE)

    async def play():
        loop = asyncio.get_running_loop()
        with pytest.raises(DatabaseFault):
            await database.run(hang, deadline_seconds=0.05)
        threads = threading.active_count()
        began = loop.time()
        for _ in range(50):
            with pytest.raises(DatabaseFault) as fault:
                await database.run(one, deadline_seconds=PATIENCE)
            assert fault.value.reason is Reason.TIMEOUT
        took = loop.time() - began
        grown = threading.active_count() - threads
        release.set()
        return took, grown

    took, grown = asyncio.run(play())
    assert took < PATIENCE / 2
    assert grown == 0


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_hundred_hung_questions_leave_no_connection_behind(kind, request):
    """Behind a path that swallows everything, each question ends at its deadline and leaves nothing open."""
    server = request.getfixturevalue(kind)

    async def play(proxy):
        database = Database(proxy.url_for(server.url))
        await database.run(one, deadline_seconds=PATIENCE)
        proxy.set("blackhole")
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(DatabaseFault) as fault:
                await database.run(one, deadline_seconds=0.02)
            assert fault.value.reason is Reason.TIMEOUT
        took = time.monotonic() - began
        proxy.set("pass")
        assert await database.run(one, deadline_seconds=PATIENCE) == 1
        await database.close()
        return took, len(asyncio.all_tasks())

    with FaultyProxy(server.port) as proxy:
        took, tasks = asyncio.run(play(proxy))
    assert took < 20
    assert tasks == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("postgres://u:canary@h/x", "SQLAlchemy has no such scheme; write postgresql://"),
        ("postgresql://u:canary@h:port/x", "not a SQLAlchemy URL"),
        ("nothing://u:canary@h/x", "not installed"),
    ],
)
def test_a_url_that_cannot_work_is_one_line_without_a_secret(url, words):
    """It is said at start, with what to write in its place."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        Database(url)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_moves_to_a_new_event_loop(database):
    """Each `asyncio.run` is answered, shared by many askers, whether it was closed before or not."""

    async def many():
        return await asyncio.gather(*(database.run(one, deadline_seconds=PATIENCE) for _ in range(5)))

    async def many_and_close():
        answers = await many()
        await database.close()
        return answers

    left_open = [] if database.dialect == "mariadb" else [many, many]  # its sockets are the garbage collector's
    for each in (*left_open, many_and_close, many_and_close):
        assert asyncio.run(each()) == [1] * 5


def test_a_resolver_that_hangs_does_not_fill_the_pool_of_the_application(monkeypatch):
    """It holds one thread of ours; the deadline holds; the application's own threads stay free."""
    release = threading.Event()

    def hang(*_arguments, **_options):
        release.wait(PATIENCE)
        raise OSError("released")

    monkeypatch.setattr("tasker_health.resolver.socket.getaddrinfo", hang)
    database = Database("postgresql://somewhere.example/x")

    async def play():
        for _ in range(20):
            with pytest.raises(DatabaseFault) as fault:
                await database.run(one, deadline_seconds=0.02)
            assert fault.value.reason is Reason.TIMEOUT
        began = time.monotonic()
        await asyncio.to_thread(time.monotonic)
        took = time.monotonic() - began
        threads = [thread for thread in threading.enumerate() if "resolver" in thread.name]
        release.set()
        await database.close()
        return took, len(threads)

    took, threads = asyncio.run(play())
    assert took < PATIENCE / 2
    assert threads == 1


@pytest.mark.parametrize("fixture", ["postgres_database", "mariadb_database"])
def test_a_starved_loop_gets_its_connection_back(fixture, request):
    """Where connecting takes many deadlines because the loop has no turns, it goes on from one question to the next."""
    database = Database(request.getfixturevalue(fixture))

    async def starve():
        while True:
            time.sleep(0.05)  # which is what busy threads do to a loop
            await asyncio.sleep(0)

    async def play():
        starving = asyncio.ensure_future(starve())
        given_up, answer = 0, None
        async with asyncio.timeout(PATIENCE):
            while answer is None:
                with contextlib.suppress(DatabaseFault):
                    answer = await database.run(one, deadline_seconds=0.8)
                given_up += answer is None
        starving.cancel()
        await database.close()
        return answer, given_up

    answer, given_up = asyncio.run(play())
    assert answer == 1
    assert given_up > 0


def test_an_attempt_to_open_a_missing_file_leaves_no_thread(tmp_path):
    """Its thread has ended when the failure is told: it would speak to the event loop, which may be closed by then."""

    async def play():
        database = Database(f"sqlite:///{tmp_path}/nothing.sqlite")
        before = set(threading.enumerate())
        for _ in range(20):
            with pytest.raises(DatabaseFault):
                await database.run(one, deadline_seconds=PATIENCE)
            assert set(threading.enumerate()) <= before
        await database.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1)
    try:
        asyncio.run(play())
    finally:
        sys.setswitchinterval(interval)
