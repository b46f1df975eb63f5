"""Connections to real servers: how many, who waits, and what the settings make of each."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
import sqlalchemy as sa

from fakes import settings_of
from server import sync_url, wait_until
from tasker_health.assembly import built_in_checks
from tasker_health.database import Database
from tasker_health.driver import PREPARE_AFTER, Tuning
from tasker_health.errors import DatabaseFault
from tasker_health.model import Reason

PATIENCE = 30

NAPS = {"postgresql": "SELECT pg_sleep({})", "mariadb": "SELECT sleep({})"}
OTHERS = {
    "postgresql": "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()",
    "mariadb": "SELECT count(*) - 1 FROM information_schema.processlist WHERE db = database()",
}
PROCESS = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}


@pytest.fixture(params=["postgres_database", "mariadb_database"])
def url(request):
    """URL of a new database on a real server."""
    return request.getfixturevalue(request.param)


def asked(statement):
    """Return work that answers the one value of *statement*."""
    return lambda connection: connection.exec_driver_sql(statement).scalar()


def connections(url):
    """Return how many others are connected to the database at *url*, by the server."""
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(OTHERS[sa.make_url(url).get_backend_name()]).scalar()


def test_many_questions_one_after_the_other_use_one_connection(url):
    """Of five that there may be; the server sees one, and none after the close."""

    async def play():
        database = Database(url)
        seen = {await database.run(asked(PROCESS[database.dialect]), deadline_seconds=PATIENCE) for _ in range(50)}
        opened = connections(url)
        await database.close()
        return len(seen), opened

    assert asyncio.run(play()) == (1, 1)
    wait_until(lambda: connections(url) == 0, "the server has forgotten the connection")


def test_questions_at_once_use_as_many_connections_as_there_may_be(url):
    """Twenty at once on three: all are answered, the server never sees a fourth."""

    async def play():
        database = Database(url, pool_size=3)
        ask = asked(PROCESS[database.dialect])
        answers = await asyncio.gather(*(database.run(ask, deadline_seconds=PATIENCE) for _ in range(20)))
        opened = connections(url)
        await database.close()
        return len(answers), len(set(answers)), opened

    assert asyncio.run(play()) == (20, 3, 3)
    wait_until(lambda: connections(url) == 0, "the server has forgotten the connections")


def test_a_restart_costs_one_question_however_many_connections_there_are(postgres_database):
    """One that was ended is met once; the others are not met one after the other, each by a question that fails."""

    async def play():
        database = Database(postgres_database)
        nap = asked(NAPS["postgresql"].format(0.2))
        await asyncio.gather(*(database.run(nap, deadline_seconds=PATIENCE) for _ in range(3)))
        opened = connections(postgres_database)
        engine = sa.create_engine(sync_url(postgres_database), poolclass=sa.NullPool)
        with engine.connect() as connection:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            connection.exec_driver_sql(f"{end} AND pid <> pg_backend_pid()")
        with pytest.raises(DatabaseFault):
            await database.run(nap, deadline_seconds=PATIENCE)
        await asyncio.gather(*(database.run(nap, deadline_seconds=PATIENCE) for _ in range(3)))
        await database.close()
        return opened

    assert asyncio.run(play()) == 3


def test_who_finds_no_connection_free_is_told_so_and_the_next_one_gets_one(url):
    """`pool_exhausted` after the checkout time-out, `timeout` at an earlier deadline; then it is answered."""

    async def play():
        database = Database(url, pool_size=1, checkout_timeout_seconds=0.1)
        await database.run(asked("SELECT 1"), deadline_seconds=PATIENCE)
        long = asyncio.ensure_future(database.run(asked(NAPS[database.dialect].format(1)), deadline_seconds=PATIENCE))
        await asyncio.sleep(0)
        reasons = []
        for deadline_seconds in (PATIENCE, 0.05):
            with pytest.raises(DatabaseFault) as fault:
                await database.run(asked("SELECT 1"), deadline_seconds=deadline_seconds)
            reasons.append(fault.value.reason)
        await long
        answer = await database.run(asked("SELECT 1"), deadline_seconds=PATIENCE)
        await database.close()
        return reasons, answer

    assert asyncio.run(play()) == ([Reason.POOL_EXHAUSTED, Reason.TIMEOUT], 1)


def test_hung_questions_hold_no_connection_beyond_their_deadlines(url):
    """All of a pool hang, are given up, and the next ones are answered at once; nothing is left at the end."""

    async def play():
        database = Database(url, pool_size=3, checkout_timeout_seconds=PATIENCE)
        nap = asked(NAPS[database.dialect].format(20))
        hung = await asyncio.gather(*(database.run(nap, deadline_seconds=1) for _ in range(3)), return_exceptions=True)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await asyncio.gather(*(database.run(asked("SELECT 1"), deadline_seconds=PATIENCE) for _ in range(9)))
        took = loop.time() - began
        await database.close()
        return {each.reason for each in hung}, answers, took, len(asyncio.all_tasks())

    reasons, answers, took, tasks = asyncio.run(play())
    assert (reasons, answers, tasks) == ({Reason.TIMEOUT}, [1] * 9, 1)
    assert took < 10


def keepalive_of(connection):
    """Return whether, after how long, how often and how many times TCP asks, and for how long it sends in vain."""
    driver = connection.connection.driver_connection
    descriptor = driver.fileno() if hasattr(driver, "fileno") else driver._writer.get_extra_info("socket").fileno()
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with socket.socket(fileno=os.dup(descriptor)) as own:
        asks = own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return asks, *(own.getsockopt(socket.IPPROTO_TCP, option) for option in options)


def seen_on_the_socket(url, **settings):
    """Return the options of the socket that the check of the database uses with *settings*."""
    databases = []
    built_in_checks(settings_of(database={"url": url, **settings}), databases)

    async def play():
        try:
            return await databases[0].run(keepalive_of, deadline_seconds=PATIENCE)
        finally:
            await databases[0].close()

    return asyncio.run(play())


def test_the_keepalive_of_the_settings_is_on_the_socket(url):
    """As the kernel tells: 30 s unless it is set, and the machine's own with 0."""
    assert seen_on_the_socket(url) == (1, 30, 10, 3, 60_000)
    assert seen_on_the_socket(url, keepalive_seconds=7.4) == (1, 7, 2, 3, 13_000)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as plain:
        machine = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert seen_on_the_socket(url, keepalive_seconds=0)[1::3] == (machine, 0)


def test_what_the_url_says_of_the_keepalive_wins(postgres_database):
    """Only what it says; the rest is as the settings have it."""
    asked_for = f"{postgres_database}?keepalives_idle=99&tcp_user_timeout=5000"
    assert seen_on_the_socket(asked_for) == (1, 99, 10, 3, 5000)


@pytest.mark.parametrize("wanted", [True, False])
def test_statements_are_prepared_when_they_are_wanted(postgres_database, wanted):
    """What is asked again and again is prepared on the server and stays so over the rollbacks; or never is."""

    async def play():
        database = Database(postgres_database, tuning=Tuning(prepared_statements=wanted))
        counts = []
        for _ in range(PREPARE_AFTER + 3):
            await database.run(asked("SELECT 42"), deadline_seconds=PATIENCE)
            prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 42'"
            counts.append(await database.run(asked(prepared), deadline_seconds=PATIENCE))
        await database.close()
        return counts

    assert asyncio.run(play()) == [0] * PREPARE_AFTER + ([1] * 3 if wanted else [0] * 3)


def test_what_a_question_did_is_undone_though_what_it_prepared_stays(postgres_database):
    """The transaction is rolled back for real, on the connection that is kept."""

    def create(connection):
        connection.exec_driver_sql("CREATE TABLE there (n int)")
        return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

    async def play():
        database = Database(postgres_database)
        process = await database.run(create, deadline_seconds=PATIENCE)
        found = "SELECT to_regclass('there')::text, pg_backend_pid()"
        after = await database.run(
            lambda connection: connection.exec_driver_sql(found).one(), deadline_seconds=PATIENCE
        )
        await database.close()
        return process, after

    process, after = asyncio.run(play())
    assert after == (None, process)
