"""What the doctor finds of the workers' heartbeats, in a store that is really there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import closing

import pytest

import canary
from loop import in_loop
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.doctor.workers import look
from tasker_health.database import Database
from tasker_health.loading import Origins
from tasker_health.settings import Settings
from tasker_health.workers import Beat
from tasker_health.workers.sql import SqlLedger

HOUR_SECONDS = 3600.0


@pytest.fixture
def url(tmp_path):
    """URL of an empty SQLite database."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    return f"sqlite:///{file}"


@contextlib.asynccontextmanager
async def ledger_at(url):
    """Give a ledger, closed at the end."""
    ledger = SqlLedger(Database(url), timeout_seconds=30, forget_after_seconds=HOUR_SECONDS)
    try:
        yield ledger
    finally:
        await ledger.close()


def worker(name, **said):
    """Return the beat of a worker that lives for an hour without another one."""
    return Beat(
        **{"worker_id": name, "engine": "celery", "host": "h", "pid": 7, "period_seconds": HOUR_SECONDS, **said}
    )


async def found_at(url):
    """Return what is found, by what it is of."""
    settings = Settings.model_validate({"workers": {"url": url}})
    found = await look(Visit(settings, Origins()))
    return {each.what: each for each in found}


@in_loop
async def test_nobody_was_ever_there(url):
    """With a store that is named for them it is a note; without one there is nothing to say."""
    found = await found_at(url)
    assert found["heartbeats"].verdict is Verdict.NOTE
    assert "health.worker(" in found["heartbeats"].remedy
    (nothing,) = await look(Visit(Settings(), Origins()))
    assert (nothing.verdict, "none are kept" in nothing.measured) == (Verdict.OK, True)


@in_loop
async def test_a_store_that_is_away_is_an_error_without_its_password():
    """With what to do."""
    found = await found_at(f"postgresql://u:{canary.secret('ledger')}@127.0.0.1:1/x")
    assert found["heartbeats"].verdict is Verdict.ERROR
    assert found["heartbeats"].measured.startswith("refused: ")
    assert "workers.url" in found["heartbeats"].remedy


@in_loop
async def test_a_table_of_a_version_to_come_is_an_error(url):
    """It says which."""
    async with ledger_at(url) as ledger:
        await ledger.beat(worker("a"))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE tasker_health_version SET version_num = '9999'")
        connection.commit()
    found = await found_at(url)
    assert found["heartbeats"].measured.startswith("unknown_version: ")
    assert "9999" in found["heartbeats"].measured


@in_loop
async def test_the_dead_and_the_stalled_are_named_and_who_has_the_name_of_another(url):
    """Each is a warning with a remedy; the store and its clock are told too."""
    async with ledger_at(url) as ledger:
        await ledger.beat(worker("gone", period_seconds=1e-6, owner_id="executor-1"))
        await ledger.beat(worker("idle", stalled=True, period_seconds=0.5))
        for name in ("one", "two"):
            await ledger.beat(worker(name, owner_id="executor-1", period_seconds=0.5))
        found = await found_at(url)
    assert found["heartbeats"].figures["workers"] == 4
    assert found["dead workers"].measured.startswith("gone (")
    assert found["stalled workers"].measured.startswith("idle (")
    assert found["celery: executor-1"].measured.startswith("2 live workers")
    assert {found[what].verdict for what in ("dead workers", "stalled workers", "celery: executor-1")} == {
        Verdict.WARNING
    }
    assert found["clock"].verdict is Verdict.OK
    assert "workers" not in found


@in_loop
async def test_two_processes_that_write_as_one_are_told(url):
    """Each takes the place of the other; one that writes alone is well."""
    async with ledger_at(url) as ledger:
        written = asyncio.Event()

        async def write():
            while True:
                for pid in (1, 2):
                    await ledger.beat(worker("twin", pid=pid, period_seconds=1))
                    written.set()
                    await asyncio.sleep(0.1)

        await ledger.beat(worker("well", period_seconds=1))
        writing = asyncio.create_task(write())
        await written.wait()
        found = await found_at(url)
        writing.cancel()
        await asyncio.wait({writing})
    assert found["twin"].measured == "written by several processes: h:1, h:2"
    assert "well" not in found
