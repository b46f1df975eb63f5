"""A real PgBouncer in transaction mode between us and PostgreSQL: hundreds of questions, none of them wrong."""

from __future__ import annotations

import asyncio

import pytest

from contract.dbos_backend import DbosOnPostgres
from contract.tasker_backend import TaskerOnPostgres
from pgbouncer import PgBouncer
from tasker_health.database import Database
from tasker_health.driver import PREPARE_AFTER, Tuning
from tasker_health.errors import DatabaseFault
from tasker_health.psycopg_connection import Connection

PATIENCE = 30


@pytest.fixture(scope="module")
def bouncer(postgres):
    """PgBouncer that lends two connections for one transaction each."""
    server = PgBouncer(postgres, default_pool_size=2)
    yield server
    server.end()


def number(value):
    """Return work that asks for *value*."""
    return lambda connection: connection.exec_driver_sql(f"SELECT {value}").scalar_one()


async def ask_side_by_side(url, times, **tuning):
    """Ask three databases for a number of each *times* over, at once; return the faults and the wrong answers."""
    faults, wrong = [], []
    databases = [Database(url, tuning=Tuning(**tuning)) for _ in range(3)]

    async def ask(database, value):
        for _ in range(times):
            try:
                answer = await database.run(number(value), deadline_seconds=PATIENCE)
            except DatabaseFault as fault:
                faults.append(str(fault))
            else:
                wrong.extend([answer] if answer != value else [])

    await asyncio.gather(*(ask(database, value) for value, database in enumerate(databases)))
    for database in databases:
        await database.close()
    return faults, wrong


@pytest.mark.parametrize("wanted", [True, False])
def test_hundreds_of_questions_are_answered(bouncer, postgres_database, wanted):
    """With prepared statements off, and also with them wanted: the pooler is seen, and they are left off."""
    url = bouncer.url_for(postgres_database)
    assert asyncio.run(ask_side_by_side(url, 150, prepared_statements=wanted)) == ([], [])


def test_prepared_statements_would_break_here(bouncer, postgres_database, monkeypatch):
    """That is what not seeing the pooler would cost: the name of a statement is taken, missing, or somebody else's."""

    async def not_seen(_connection):
        return False

    monkeypatch.setattr(Connection, "_is_pooled", not_seen)
    faults, wrong = asyncio.run(ask_side_by_side(bouncer.url_for(postgres_database), 10 * PREPARE_AFTER))
    assert faults or wrong
    assert all("prepared statement" in words for words in faults)


@pytest.mark.parametrize("kind", [DbosOnPostgres, TaskerOnPostgres])
def test_sources_read_hundreds_of_times(bouncer, postgres, kind):
    """The figures are those that the server itself gives; no reading fails."""
    backend = kind(postgres)
    backend.write(backend.lively, backend.now_ms())

    async def play():
        direct, pooled = backend.source(), backend._source(bouncer.url_for(backend.url))
        expected = await direct.read(PATIENCE)
        readings = [await pooled.read(PATIENCE) for _ in range(200)]
        await direct.close()
        await pooled.close()
        return expected, readings

    expected, readings = asyncio.run(play())
    assert expected.total > 0
    assert {reading.total for reading in readings} == {expected.total}
    assert {reading.failed for reading in readings} == {expected.failed}
