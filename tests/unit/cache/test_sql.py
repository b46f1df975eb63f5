"""The cache in a table of SQLite: what it makes, refuses, forgets and never waits for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop import in_loop
from tasker_health.cache.sql import SqlCache, table_statement
from tasker_health.cache.sql_table import TABLE, dialect_of
from tasker_health.database import Database
from tasker_health.errors import CacheFault, SettingsError
from tasker_health.model import Reason

PATIENCE = 30
SHORT = 0.2
_FLOAT_SECONDS = 0.0001  # julian days as a double of 64 bits


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database without a table."""
    path = tmp_path / "app.sqlite"
    sqlite3.connect(path).close()
    return path


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection of the test's own, in which nothing begins by itself."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def rows(file: Path) -> int:
    """Count the rows of the table."""
    with opened(file) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])


def tables(file: Path) -> list[str]:
    """Return the names of all tables."""
    with opened(file) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


@contextlib.asynccontextmanager
async def asked(file: Path, *, timeout_seconds: float = PATIENCE, options: str = ""):
    """Give a cache in *file*."""
    cache = SqlCache(Database(f"sqlite:///{file}{options}"), timeout_seconds=timeout_seconds)
    try:
        yield cache
    finally:
        await cache.close()
        await nothing_left()


async def nothing_left() -> None:
    """Wait until no thread of the driver is left: it would complain of a loop that has ended before it."""
    ends_at = time.monotonic() + PATIENCE
    while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < ends_at, "a connection is still open"
        await asyncio.sleep(0.005)


async def reason_of(question) -> tuple[Reason, float, str]:
    """Return the reason why *question* fails, after how many seconds, and its words."""
    began = time.monotonic()
    with pytest.raises(CacheFault) as caught:
        await question
    return caught.value.reason, time.monotonic() - began, str(caught.value)


def test_another_database_is_refused_at_the_start():
    """What is neither PostgreSQL nor SQLite is an error of the setting `cache.url`, before anything is asked."""
    with pytest.raises(SettingsError, match=r"^cache\.url = sql://: .*PostgreSQL or SQLite, not on mysql$"):
        SqlCache(Database("mysql://127.0.0.1/app"), timeout_seconds=1)
    with pytest.raises(SettingsError, match="not on oracle"):
        table_statement("oracle")


@in_loop
async def test_a_reader_does_not_miss_the_table_and_the_first_write_makes_it(file: Path):
    """Until something is put there a read is `None` and makes nothing, and so is the end of a lease."""
    async with asked(file) as cache:
        assert await cache.get("a") is None
        await cache.release("lease", "me")
        assert tables(file) == []
        await cache.put("a", b"words", 60)
        held = await cache.get("a")
        assert held is not None
        assert held.value == b"words"
        assert tables(file) == [TABLE]


@in_loop
async def test_the_owner_can_make_the_table(file: Path):
    """The statement for the owner makes the table that the cache uses, and does no harm when it is there."""
    with opened(file) as connection:
        connection.execute(table_statement("sqlite"))
        connection.execute(table_statement("sqlite"))
    async with asked(file) as cache:
        assert await cache.acquire("lease", "me", 60)
    assert rows(file) == 1


@in_loop
async def test_a_missing_file_is_a_fault(tmp_path: Path):
    """Where there is no database a read is not `None`: the cache is not there; and the file is not made."""
    async with asked(tmp_path / "nowhere.sqlite") as cache:
        assert (await reason_of(cache.get("a")))[0] is Reason.MISSING
        assert (await reason_of(cache.put("a", b"", 1)))[0] is Reason.MISSING
    assert list(tmp_path.iterdir()) == []


def test_the_clock_is_behind_by_no_more_than_ages_are_rounded_up(file: Path):
    """SQLite's clock ticks in milliseconds: it is behind the truth by one tick at most, and never ahead of it."""
    dialect = dialect_of("sqlite")
    behind = []
    with opened(file) as connection:
        for _ in range(300):
            before = time.time()
            now = connection.execute(f"SELECT {dialect.now}").fetchone()[0]
            assert now <= time.time() + _FLOAT_SECONDS
            behind.append(before - now)
    assert 0 < max(behind) <= dialect.round_up_seconds + _FLOAT_SECONDS


@in_loop
async def test_an_age_is_never_below_the_truth(file: Path):
    """What was put there just now is at least as old as its asker has seen, and no older than the cache says."""
    async with asked(file) as cache:
        for _ in range(50):
            before = time.time()
            await cache.put("a", b"", 60)
            put = time.time()
            held = await cache.get("a")
            assert held is not None
            assert held.age_seconds <= time.time() - before + cache.coarse_seconds
            assert held.age_seconds >= 0.001
            with opened(file) as connection:
                connection.execute(f"UPDATE {TABLE} SET put_at = ?", (put,))
            asked_at = time.time()
            held = await cache.get("a")
            assert held is not None
            assert held.age_seconds >= asked_at - put - _FLOAT_SECONDS


@in_loop
async def test_a_lease_that_has_run_out_is_granted_at_once(file: Path):
    """Nobody has to ask twice, whether or not what has ended was deleted meanwhile."""
    async with asked(file) as cache:
        for number in range(20):
            assert await cache.acquire("lease", f"dead-{number}", 60)
            with opened(file) as connection:
                connection.execute(f"UPDATE {TABLE} SET ends_at = ends_at - 60")


@in_loop
async def test_a_clock_that_was_set_back_ends_what_was_put_there_before(file: Path):
    """What was put there in the future is of unknown age: it is not served, and no lease lasts until then."""
    async with asked(file) as cache:
        await cache.put("a", b"old", 60)
        await cache.acquire("lease", "dead", 60)
        with opened(file) as connection:
            connection.execute(f"UPDATE {TABLE} SET put_at = put_at + 3600, ends_at = ends_at + 3600")
        assert await cache.get("a") is None
        assert await cache.acquire("lease", "me", 60)
        assert not await cache.acquire("lease", "another", 60)
        await cache.put("a", b"new", 60)
        held = await cache.get("a")
        assert held is not None
        assert held.value == b"new"


@pytest.mark.parametrize(
    "row",
    [
        ("NULL", "NULL", "now", "now + 60"),
        ("'words'", "NULL", "now", "now + 60"),
        ("17", "NULL", "now", "now + 60"),
        ("NULL", "'me'", "now", "now + 60"),
        ("x'00'", "NULL", "now", "NULL"),
        ("x'00'", "NULL", "now", "9e999"),
        ("x'00'", "NULL", "now", "'tomorrow'"),
        ("x'00'", "NULL", "NULL", "now + 60"),
        ("x'00'", "NULL", "-9e999", "now + 60"),
    ],
)
@in_loop
async def test_a_row_that_is_not_ours_is_invalid_until_it_is_replaced(file: Path, row: tuple[str, ...]):
    """No bytes, no end, no beginning: `invalid`, whoever wrote it; the next entry takes its place."""
    with opened(file) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, value, holder, put_at, ends_at)")
        connection.execute(
            f"WITH clock(now) AS (SELECT strftime('%s', 'now') + 0.0)"
            f" INSERT INTO {TABLE} SELECT 'a', {', '.join(row)} FROM clock"
        )
    async with asked(file) as cache:
        assert (await reason_of(cache.get("a")))[0] is Reason.INVALID
        await cache.put("a", b"words", 60)
        assert await cache.get("a") is not None


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, value BLOB)",
        f"CREATE TABLE {TABLE} (key TEXT, value BLOB, holder TEXT, put_at REAL, ends_at REAL, more TEXT NOT NULL)",
        f"CREATE VIEW {TABLE} AS SELECT 'a' AS key, 1 AS value, 'me' AS holder, 1.0 AS put_at, 9e99 AS ends_at",
    ],
)
@in_loop
async def test_another_table_of_that_name_is_invalid(file: Path, statement: str):
    """What has the name of our table and is not like it is `invalid` to read or to write, and stays as it is."""
    with opened(file) as connection:
        connection.execute(statement)
    async with asked(file) as cache:
        assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.INVALID
        assert (await reason_of(cache.acquire("a", "me", 60)))[0] is Reason.INVALID
        with contextlib.suppress(CacheFault):
            assert await cache.get("a") is None
    with opened(file) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master").fetchone()[0] == statement


@in_loop
async def test_what_has_outlived_its_time_does_not_pile_up(file: Path):
    """However many keys are written, only a few of those that have ended are still there; the others stay."""
    async with asked(file) as cache:
        await cache.put("stays", b"", 600)
        most = 0
        for number in range(200):
            await cache.put(f"entry-{number}", b"", 0.0001)
            assert await cache.acquire(f"lease-{number}", "me", 0.0001)
            most = max(most, rows(file))
        assert most < 40
        assert await cache.get("stays") is not None


@in_loop
async def test_a_pile_is_cleared_a_few_rows_at_a_time(file: Path):
    """What many processes left behind is deleted by whoever writes, but no write deletes more than a hundred rows."""
    with opened(file) as connection:
        connection.execute(table_statement("sqlite"))
        connection.executemany(f"INSERT INTO {TABLE} VALUES (?, NULL, NULL, 1, 2)", [(str(n),) for n in range(350)])
    async with asked(file) as cache:
        counts = [350]
        for _ in range(100):
            await cache.put("a", b"", 60)
            counts.append(rows(file))
    assert counts[-1] == 1
    assert max(before - after for before, after in itertools.pairwise(counts)) <= 100


@in_loop
async def test_a_database_that_is_read_only_refuses_to_be_written(file: Path):
    """A write is `read_only`, with the table or without it; what is there can still be read."""
    async with asked(file, options="?mode=ro") as readonly:
        assert (await reason_of(readonly.put("a", b"", 60)))[0] is Reason.READ_ONLY
        async with asked(file) as cache:
            await cache.put("a", b"words", 60)
        assert (await reason_of(readonly.put("a", b"", 60)))[0] is Reason.READ_ONLY
        assert (await reason_of(readonly.acquire("lease", "me", 60)))[0] is Reason.READ_ONLY
        assert await readonly.get("a") is not None


@in_loop
async def test_a_full_disk_is_an_error_and_no_longer_one_when_there_is_room(file: Path):
    """A write that finds no room is `error`; the entry before it is still there, and the next one finds room."""
    database = Database(f"sqlite:///{file}")
    cache = SqlCache(database, timeout_seconds=PATIENCE)
    await cache.put("a", b"before", 60)
    await database.run(
        lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 5").scalar(), deadline_seconds=PATIENCE
    )
    reason, _, words = await reason_of(cache.put("a", bytes(100_000), 60))
    assert reason is Reason.ERROR
    assert "full" in words
    held = await cache.get("a")
    assert held is not None
    assert held.value == b"before"
    await cache.put("a", bytes(100_000), 60)  # the connection that was told of the limit is dropped
    await cache.close()
    await nothing_left()


@in_loop
async def test_a_file_that_is_no_database_is_invalid(tmp_path: Path):
    """A file of something else is `invalid`, and is left as it is."""
    path = tmp_path / "app.sqlite"
    path.write_bytes(b"not a database" * 1000)
    async with asked(path) as cache:
        assert (await reason_of(cache.get("a")))[0] is Reason.INVALID
        assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.INVALID
    assert path.read_bytes() == b"not a database" * 1000


@pytest.mark.parametrize("has_table", [True, False])
@in_loop
async def test_a_writer_that_holds_the_file_costs_the_time_out(file: Path, *, has_table: bool):
    """A write behind another writer, and a read behind one who excludes all, is `timeout` in time; then it goes on."""
    async with asked(file, timeout_seconds=SHORT) as cache:
        if has_table:
            await cache.put("a", b"words", 60)
        with opened(file) as writer:
            writer.execute("BEGIN IMMEDIATE")
            faults = [await reason_of(cache.put("a", b"", 60)), await reason_of(cache.acquire("lease", "me", 60))]
            assert (await cache.get("a") is not None) == has_table
            writer.execute("ROLLBACK")
            writer.execute("BEGIN EXCLUSIVE")
            faults.append(await reason_of(cache.get("a")))
            writer.execute("ROLLBACK")
        assert [reason for reason, _, _ in faults] == [Reason.TIMEOUT] * 3
        assert max(took for _, took, _ in faults) < SHORT + 2
        assert await cache.acquire("lease", "me", 60)
