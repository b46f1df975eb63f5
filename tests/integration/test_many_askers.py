"""Many askers, one question: what really reaches the database, counted where it is sent."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import sqlalchemy as sa

from contract.dbos_backend import DbosOnPostgres, DbosOnSqlite
from fakes import settings_of
from tasker_health.health import Health


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of a database with DBOS' tables, empty."""
    if request.param == "sqlite":
        return DbosOnSqlite(tmp_path).url
    return DbosOnPostgres(request.getfixturevalue("postgres")).url


@pytest.fixture
def statements():
    """Every statement that reaches a driver while the test runs."""
    seen = []

    def note(connection, cursor, statement, *rest):
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def health_of(url):
    """Return a health with the database and the source at *url*."""
    return Health(settings_of(database={"url": url}, sources={"shop": {"kind": "dbos"}}))


async def ask(health, path, times):
    """Return the answers to so many requests at once."""
    transport = httpx.ASGITransport(health.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
        return await asyncio.gather(*(client.get(f"/tasker/health/{path}") for _ in range(times)))


def test_a_hundred_first_requests_of_status_are_one_set_of_queries(url, statements):
    """The same statements as for one asker, each exactly once; nobody is told that it was cached."""

    async def play(times):
        health = health_of(url)
        answers = await ask(health, "status", times)
        await health.stop()
        return answers

    asyncio.run(play(1))
    for_one = list(statements)
    statements.clear()
    answers = asyncio.run(play(100))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["cache_info"]["cached"] for answer in answers} == {False}
    assert sum("AS part, count(*)" in statement for statement in statements) == 1  # all tasks, by their states
    limits = ("SET LOCAL", "PRAGMA busy_timeout")  # what is left of the deadline stands in them
    assert [each for each in statements if not each.startswith(limits)] == [
        each for each in for_one if not each.startswith(limits)
    ]


def test_a_hundred_requests_of_ready_within_a_second_are_at_most_two_runs(url, statements):
    """Ten rounds of ten askers."""

    async def play():
        health = health_of(url)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = [answer for _ in range(10) for answer in await ask(health, "ready", 10)]
        took = loop.time() - began
        await health.stop()
        return answers, took

    answers, took = asyncio.run(play())
    assert {answer.status_code for answer in answers} == {200}
    runs = [each for each in statements if each in {"SELECT 1", "SELECT count(*) FROM sqlite_master"}]
    assert 1 <= len(runs) <= 2 + took
