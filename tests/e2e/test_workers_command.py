"""`tasker-health workers` as a user types it: who works, who does not, and the table of the heartbeats."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

import canary
from command import run
from loop import in_loop
from tasker_health.database import Database
from tasker_health.workers import Beat, RunningTask
from tasker_health.workers.sql import SqlLedger

HOUR_SECONDS = 3600


@pytest.fixture
def database(tmp_path):
    """URL of an empty SQLite database."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    return f"sqlite:///{file}"


def worker(name, **said):
    """Return the beat of a worker that would be dead hours from now."""
    return Beat(
        **{"worker_id": name, "engine": "celery", "host": "h", "pid": 7, "period_seconds": HOUR_SECONDS, **said}
    )


async def keep(database, *beats):
    """Write *beats*."""
    ledger = SqlLedger(Database(database), timeout_seconds=30, forget_after_seconds=HOUR_SECONDS)
    try:
        for beat in beats:
            await ledger.beat(beat)
    finally:
        await ledger.close()


@in_loop
async def test_the_worst_stand_first_and_what_a_worker_calls_itself_obeys_nothing(database):
    """Dead, stalled, alive, with what the longest task is; the code is 1, and JSON says the same."""
    tasks = (RunningTask("7f3a", "charge", "q", 12.2), RunningTask("7f3b", "ship", "q", 2.2))
    await keep(
        database,
        worker("well", queues=("q", "r"), running=tasks, running_count=2, done=3),
        worker("idle", stalled=True),
        worker("gone\x1b[31m", period_seconds=1e-6, owner_id="executor-1"),
    )
    told = run("workers", TASKER_WORKERS__URL=database, COLUMNS="160")
    assert (told.returncode, told.stderr) == (1, "")
    rows = [line.split() for line in told.stdout.splitlines()[1:]]
    assert [row[:2] for row in rows[:3]] == [["gone?[31m", "dead"], ["idle", "stalled"], ["well", "alive"]]
    assert "charge 7f3a, 12 s and 1 more" in told.stdout
    assert told.stdout.endswith("1 alive, 1 stalled, 1 dead\n")

    said = json.loads(run("workers", "--json", TASKER_WORKERS__URL=database).stdout)
    assert (said["alive"], said["stalled"], said["dead"]) == (1, 1, 1)
    dead, _, alive = said["workers"]
    assert (dead["state"], dead["owner_id"], alive["running"][0]["id"]) == ("dead", "executor-1", "7f3a")
    assert dead["age_seconds"] >= 0


@in_loop
async def test_all_work_is_0(database):
    """So a script can ask."""
    await keep(database, worker("well"))
    told = run("workers", TASKER_DATABASE__URL=database)
    assert (told.returncode, told.stderr) == (0, "")
    assert "1 alive, 0 stalled, 0 dead" in told.stdout


def test_nobody_was_ever_here_is_no_fault(database):
    """There is no table: that is said, with what to do, and nothing is made by a reader."""
    told = run("workers", TASKER_DATABASE__URL=database)
    assert (told.returncode, told.stderr) == (0, "")
    assert "health.worker(" in told.stdout
    assert tables_of(database) == set()


@pytest.mark.parametrize("command", [["workers"], ["workers", "migrate"]])
def test_what_cannot_be_asked_is_2_in_one_line(command):
    """No ledger is named; or the store is away, with a password that is not shown."""
    away = f"postgresql://u:{canary.secret('workers')}@127.0.0.1:1/x"
    for variables, words in [({}, "workers.url = not set"), ({"TASKER_WORKERS__URL": away}, "refused")]:
        told = run(*command, **variables)
        assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1), told.stderr
        assert words in told.stderr


def test_the_table_is_made_by_who_owns_the_database(database):
    """Twice is once; and the statements that are printed make the very same tables."""
    for _ in range(2):
        told = run("workers", "migrate", TASKER_WORKERS__URL=database)
        assert (told.returncode, told.stderr) == (0, ""), told.stderr
    assert tables_of(database) == {"tasker_health_workers", "tasker_health_version"}
    columns = columns_of(database)

    printed = run("workers", "migrate", "--sql", TASKER_WORKERS__URL="sqlite:////no/such/file").stdout
    with closing(sqlite3.connect(":memory:")) as other:
        other.executescript(printed)
        assert other.execute("PRAGMA table_info(tasker_health_workers)").fetchall() == columns


def tables_of(database):
    """Return the names of all tables."""
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def columns_of(database):
    """Return the columns of the heartbeats' table."""
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
        return connection.execute("PRAGMA table_info(tasker_health_workers)").fetchall()
