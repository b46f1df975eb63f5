"""The cache in SQL where several processes, other rights, locks, standbys and poolers are."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import canary
from integration.tasker_standby import Standby
from loop import in_loop
from pgbouncer import PgBouncer
from servers import PostgresServer, sync_url
from tasker_health.cache.sql import SqlCache, table_statement
from tasker_health.cache.sql_table import TABLE
from tasker_health.database import Database
from tasker_health.driver import Tuning
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

PATIENCE = 30
SHORT = 0.3
_COLUMNS = "key text PRIMARY KEY, value bytea, holder text, put_at float8, ends_at float8"
NOW = "extract(epoch FROM clock_timestamp())"
_WAITING_FOR_A_LOCK = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
_NOBODY_WAITS = "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database without a table."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_database"))
    sqlite3.connect(tmp_path / "app.sqlite").close()
    return f"sqlite:///{tmp_path}/app.sqlite"


@contextlib.asynccontextmanager
async def asked(url: str, *, timeout_seconds: float = PATIENCE, prepared_statements: bool = True):
    """Give a cache in the database at *url*."""
    database = Database(url, tuning=Tuning(prepared_statements=prepared_statements))
    cache = SqlCache(database, timeout_seconds=timeout_seconds)
    try:
        yield cache
    finally:
        await cache.close()


@contextlib.contextmanager
def opened(url: str, isolation_level: str = "AUTOCOMMIT") -> Iterator[sa.Connection]:
    """Give a connection of the test's own."""
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool, isolation_level=isolation_level)
    with engine.connect() as connection:
        yield connection


def execute(url: str, *statements: str) -> None:
    """Run *statements*, each in a transaction of its own."""
    with opened(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def number(url: str, statement: str) -> int:
    """Return the one number that *statement* answers."""
    with opened(url) as connection:
        return int(connection.exec_driver_sql(statement).scalar_one())


async def reason_of(question) -> tuple[Reason, float, str]:
    """Return the reason why *question* fails, after how many seconds, and its words."""
    began = time.monotonic()
    with pytest.raises(CacheFault) as caught:
        await question
    return caught.value.reason, time.monotonic() - began, str(caught.value)


def at_once(url: str, askers: int, question: Callable[[SqlCache, int], object]) -> list[object]:
    """Return what *askers* threads get, each with a loop and a connection of its own, when all ask at one moment."""
    start = threading.Barrier(askers)

    def play(asker: int) -> object:
        async def ask() -> object:
            async with asked(url) as cache:
                await cache.get("connected")
                start.wait(PATIENCE)
                return await question(cache, asker)

        return asyncio.run(ask())

    with ThreadPoolExecutor(askers) as threads:
        return list(threads.map(play, range(askers)))


def test_the_table_may_be_missed_by_many_at_once(url: str):
    """Eight first writers at one moment: each has written, and nobody is refused."""
    for turn in range(5):
        at_once(url, 8, lambda cache, asker: cache.put(f"entry-{asker}", b"words", 60))
        assert number(url, f"SELECT count(*) FROM {TABLE}") == 8, turn
        execute(url, f"DROP TABLE {TABLE}")


def test_of_many_who_miss_the_table_one_has_the_lease(url: str):
    """A lease that twenty ask for at one moment has one holder, from the first moment of the table on."""
    for turn in range(3):
        answers = at_once(url, 20, lambda cache, asker: cache.acquire("lease", f"holder-{asker}", 60))
        assert sorted(answers) == [False] * 19 + [True], turn
        execute(url, f"DROP TABLE {TABLE}")


def test_a_lease_that_runs_out_has_one_heir(url: str):
    """Of twenty who wait for the end of a lease one gets it, and not before it has ended."""
    seconds = 0.4

    async def first_of_all() -> float:
        async with asked(url) as cache:
            began = time.monotonic()
            assert await cache.acquire("lease", "dead", seconds)
            return began

    async def heir(cache: SqlCache, asker: int) -> float | None:
        ends_at = time.monotonic() + PATIENCE
        while await cache.get("over") is None:
            assert time.monotonic() < ends_at, "the lease does not end"
            if await cache.acquire("lease", f"holder-{asker}", 600):
                got_at = time.monotonic()
                await cache.put("over", b"", 600)
                return got_at
        return None

    began = asyncio.run(first_of_all())
    heirs = [got_at for got_at in at_once(url, 20, heir) if got_at is not None]
    assert len(heirs) == 1
    assert heirs[0] - began >= seconds - 0.001


def test_many_who_write_leave_no_pile(url: str):
    """Six writers with keys of their own: what has ended is deleted on the way, without a fault or a deadlock."""

    async def write(cache: SqlCache, asker: int) -> None:
        for turn in range(40):
            await cache.put(f"entry-{asker}-{turn}", b"words", 0.001)
            await cache.put("everybody's", b"words", 0.001)

    at_once(url, 6, write)
    assert number(url, f"SELECT count(*) FROM {TABLE}") < 6 * 16 * 2 + 1


class TestPostgresql:
    """What only PostgreSQL does."""

    @pytest.fixture
    def role(self, postgres: PostgresServer, postgres_database: str) -> Iterator[str]:
        """The URL of a role that may connect, and nothing else."""
        password = canary.secret("role")
        execute(postgres_database, f"CREATE ROLE guest LOGIN PASSWORD '{password}'")
        yield postgres.url_of(str(sa.make_url(postgres_database).database), user="guest", password=password)
        execute(postgres_database, "DROP OWNED BY guest", "DROP ROLE guest")

    @in_loop
    async def test_a_role_that_may_make_no_table_is_told_what_the_owner_can_do(self, role: str, postgres_database: str):
        """A read is `None`; a write is a fault with the statement; when the owner has run it, everything works."""
        async with asked(role) as cache:
            assert await cache.get("a") is None
            reason, _, words = await reason_of(cache.put("a", b"", 60))
            assert reason is Reason.AUTHENTICATION_FAILED
            assert table_statement("postgresql") in words
            execute(postgres_database, table_statement("postgresql"))
            assert (await reason_of(cache.get("a")))[0] is Reason.AUTHENTICATION_FAILED
            assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.AUTHENTICATION_FAILED
            assert (await reason_of(cache.acquire("lease", "me", 60)))[0] is Reason.AUTHENTICATION_FAILED
            execute(postgres_database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO guest")
            await cache.put("a", b"words", 60)
            assert await cache.acquire("lease", "me", 60)
            await cache.release("lease", "me")
            assert await cache.get("a") is not None

    @in_loop
    async def test_where_no_schema_is_in_the_path_the_owner_is_told(self, role: str):
        """Nothing to make the table in is `missing`, with the statement."""
        async with asked(f"{role}?options=-csearch_path%3Dnowhere") as cache:
            assert await cache.get("a") is None
            reason, _, words = await reason_of(cache.put("a", b"", 60))
        assert reason is Reason.MISSING
        assert table_statement("postgresql") in words

    @in_loop
    async def test_the_table_is_that_of_the_search_path(self, postgres_database: str):
        """It is made in the first schema of the path, and two schemas hold two caches."""
        execute(postgres_database, "CREATE SCHEMA one", "CREATE SCHEMA two")
        for schema in ("one", "two"):
            async with asked(f"{postgres_database}?options=-csearch_path%3D{schema}") as cache:
                await cache.put("a", schema.encode(), 60)
        for schema in ("one", "two"):
            async with asked(f"{postgres_database}?options=-csearch_path%3D{schema}") as cache:
                held = await cache.get("a")
                assert held is not None
                assert held.value == schema.encode()
        unlogged = f"SELECT count(*) FROM pg_class WHERE relname = '{TABLE}' AND relpersistence = 'u'"
        assert number(postgres_database, unlogged) == 2

    @pytest.mark.parametrize("lock", ["row", "table"])
    @in_loop
    async def test_who_holds_a_lock_costs_the_time_out(self, postgres_database: str, lock: str):
        """A locked row stops its writers, a locked table everybody: `timeout` in time, and no session stays behind."""
        async with asked(postgres_database) as patient:
            await patient.put("a", b"words", 60)
            await patient.acquire("lease", "somebody", 0.001)
        statement = {"row": f"SELECT * FROM {TABLE} FOR UPDATE", "table": f"LOCK TABLE {TABLE}"}[lock]
        async with asked(postgres_database, timeout_seconds=SHORT) as cache:
            await cache.get("a")
            with opened(postgres_database, "READ COMMITTED") as holder:
                holder.exec_driver_sql(statement)
                questions = [
                    lambda: cache.put("a", b"", 60),
                    lambda: cache.acquire("lease", "me", 60),
                    *([lambda: cache.get("a")] if lock == "table" else []),
                ]
                faults = [await reason_of(question()) for question in questions]
                assert (await cache.get("a") is not None) if lock == "row" else True
                await self._until(postgres_database, _NOBODY_WAITS)
                holder.rollback()
            assert [reason for reason, _, _ in faults] == [Reason.TIMEOUT] * len(questions)
            assert max(took for _, took, _ in faults) < SHORT + 2
            assert await cache.acquire("lease", "me", 60)
            held = await cache.get("a")
            assert held is not None
            assert held.value == b"words"  # what was given up was not written later

    @in_loop
    async def test_a_locked_row_that_has_ended_holds_up_nobody(self, postgres_database: str):
        """Whoever writes deletes what has ended, but what somebody holds is left to a later one."""
        count = f"SELECT count(*) FROM {TABLE}"
        async with asked(postgres_database) as patient, asked(postgres_database, timeout_seconds=SHORT) as cache:
            await cache.get("a")
            await patient.put("a", b"words", 60)
            for key in ("held", "free"):
                await patient.put(key, b"words", 0.0001)
            with opened(postgres_database, "READ COMMITTED") as holder:
                holder.exec_driver_sql(f"SELECT * FROM {TABLE} WHERE key = 'held' FOR UPDATE")
                await cache.put("a", b"words", 60)
                assert number(postgres_database, count) == 2
            for _ in range(16):
                await patient.put("a", b"words", 60)
            assert number(postgres_database, count) == 1

    @in_loop
    async def test_another_s_transaction_that_makes_the_table_costs_the_time_out(self, postgres_database: str):
        """A table that somebody makes and does not commit is waited for no longer than the time-out."""
        async with asked(postgres_database, timeout_seconds=SHORT) as cache:
            await cache.get("a")
            with opened(postgres_database, "READ COMMITTED") as holder:
                holder.exec_driver_sql(table_statement("postgresql"))
                assert await cache.get("a") is None
                reason, took, _ = await reason_of(cache.put("a", b"", 60))
                holder.commit()
            assert reason is Reason.TIMEOUT
            assert took < SHORT + 2
            await cache.put("a", b"", 60)

    @in_loop
    async def test_a_lease_is_counted_from_when_a_lock_is_got(self, postgres_database: str):
        """Who waited for a row has the whole term, and who waited for the end of one sees that it has ended."""
        async with asked(postgres_database) as cache:
            await cache.acquire("lease", "somebody", SHORT)
            with opened(postgres_database, "READ COMMITTED") as holder:
                holder.exec_driver_sql(f"SELECT * FROM {TABLE} FOR UPDATE")
                waiting = asyncio.ensure_future(cache.acquire("lease", "me", 60))
                await self._until(postgres_database, _WAITING_FOR_A_LOCK)
                await self._until(postgres_database, f"SELECT count(*) FROM {TABLE} WHERE ends_at + 0.2 < {NOW}")
                let_go_at = float(holder.exec_driver_sql(f"SELECT {NOW}").scalar_one())
                holder.commit()
            assert await waiting
            with opened(postgres_database) as connection:
                put_at, ends_at = connection.exec_driver_sql(f"SELECT put_at, ends_at FROM {TABLE}").one()
            assert put_at >= let_go_at
            assert ends_at - put_at == pytest.approx(60, abs=0.1)

    def test_one_has_the_lease_where_serializable_is_the_default(self, postgres_database: str):
        """Concurrent writers of one row wait for each other instead of being refused."""
        name = sa.make_url(postgres_database).database
        execute(postgres_database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        asyncio.run(self._put_once(postgres_database))
        for turn in range(5):
            answers = at_once(
                postgres_database, 10, lambda cache, asker, turn=turn: cache.acquire(f"lease-{turn}", f"h-{asker}", 60)
            )
            assert sorted(answers) == [False] * 9 + [True]
            at_once(postgres_database, 10, lambda cache, _asker: cache.put("a", b"words", 60))

    @staticmethod
    async def _until(url: str, statement: str) -> None:
        ends_at = time.monotonic() + PATIENCE
        while not number(url, statement):
            assert time.monotonic() < ends_at, f"it does not come true: {statement}"
            await asyncio.sleep(0.02)

    @staticmethod
    async def _put_once(url: str) -> None:
        async with asked(url) as cache:
            await cache.put("a", b"words", 60)

    @in_loop
    async def test_a_database_that_is_read_only_refuses_to_be_written(self, postgres_database: str):
        """A write is `read_only`, with the table or without it; what is there can still be read."""
        name = sa.make_url(postgres_database).database
        readonly = f"{postgres_database}?options=-cdefault_transaction_read_only%3Don"
        async with asked(readonly) as cache, asked(postgres_database) as writer:
            assert await cache.get("a") is None
            assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.READ_ONLY, name
            await writer.put("a", b"words", 60)
            assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.READ_ONLY
            assert (await reason_of(cache.acquire("lease", "me", 60)))[0] is Reason.READ_ONLY
            assert await cache.get("a") is not None

    @in_loop
    async def test_a_standby_is_read_only_until_it_is_promoted(self, own_postgres: PostgresServer):
        """An unlogged table cannot be read there: `read_only`; after a failover the cache is empty, and works."""
        standby = Standby(own_postgres)
        try:
            async with asked(own_postgres.url) as primary, asked(standby.url) as cache:
                assert await cache.get("a") is None
                assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.READ_ONLY
                await primary.put("a", b"words", 60)
                found = f"SELECT count(*) FROM pg_class WHERE relname = '{TABLE}'"
                await self._until(standby.url, found)
                assert (await reason_of(cache.get("a")))[0] is Reason.READ_ONLY
                assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.READ_ONLY
                assert (await reason_of(cache.acquire("lease", "me", 60)))[0] is Reason.READ_ONLY
                standby.promote()
                assert await cache.get("a") is None
                await cache.put("a", b"words", 60)
                assert await cache.get("a") is not None
        finally:
            standby.end()

    @in_loop
    async def test_a_crash_empties_it_and_that_is_all(self, own_postgres: PostgresServer):
        """After a power failure the table is there and holds nothing; the same client goes on."""
        async with asked(own_postgres.url) as cache:
            await cache.put("a", b"words", 60)
            own_postgres.kill()
            assert (await reason_of(cache.get("a")))[0] in {Reason.REFUSED, Reason.UNREACHABLE}
            own_postgres.start()
            assert await cache.get("a") is None
            await cache.put("a", b"words", 60)
            assert await cache.get("a") is not None

    @pytest.mark.parametrize("prepared_statements", [True, False])
    @in_loop
    async def test_a_pooler_in_transaction_mode_may_stand_between(
        self, postgres: PostgresServer, postgres_database: str, *, prepared_statements: bool
    ):
        """Many clients over two connections to the server: each gets its own answers, no session keeps anything."""
        pooler = PgBouncer(postgres, default_pool_size=2)
        url = pooler.url_for(postgres_database)

        async def play(client: int) -> None:
            async with asked(url, prepared_statements=prepared_statements) as cache:
                for turn in range(12):
                    value = f"{client}-{turn}".encode()
                    await cache.put(f"entry-{client}", value, 60)
                    held = await cache.get(f"entry-{client}")
                    assert held is not None
                    assert held.value == value
                    if await cache.acquire("lease", f"holder-{client}", 60):
                        await cache.release("lease", f"holder-{client}")

        try:
            await asyncio.gather(*(play(client) for client in range(8)))
            left = "current_setting('statement_timeout') || current_setting('default_transaction_isolation')"
            with opened(url, "READ COMMITTED") as one, opened(url, "READ COMMITTED") as two:
                settings = {connection.exec_driver_sql(f"SELECT {left}").scalar_one() for connection in (one, two)}
            assert settings == {"0read committed"}
        finally:
            pooler.end()

    @pytest.mark.parametrize(
        "statement",
        [
            f"CREATE TABLE {TABLE} (key text PRIMARY KEY, value bytea)",
            f"CREATE TABLE {TABLE} (key text PRIMARY KEY, value int, holder int, put_at float8, ends_at float8)",
            f"CREATE TABLE {TABLE} (key text PRIMARY KEY, value bytea, holder text, put_at date, ends_at timestamptz)",
            f"CREATE TABLE {TABLE} (key text, value bytea, holder text, put_at float8, ends_at float8)",
            f"CREATE TABLE {TABLE} ({_COLUMNS}, more int NOT NULL)",
            f"CREATE SEQUENCE {TABLE}",
        ],
    )
    @in_loop
    async def test_another_table_of_that_name_is_invalid(self, postgres_database: str, statement: str):
        """What has the name of our table and is not like it is `invalid` to write, and is never served."""
        execute(postgres_database, statement)
        async with asked(postgres_database) as cache:
            assert (await reason_of(cache.put("a", b"", 60)))[0] is Reason.INVALID
            assert (await reason_of(cache.acquire("a", "me", 60)))[0] is Reason.INVALID
            with contextlib.suppress(CacheFault):
                assert await cache.get("a") is None
            execute(postgres_database, statement.replace("CREATE", "DROP").partition("(")[0])
            await cache.put("a", b"words", 60)
            assert await cache.get("a") is not None

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (f"NULL, NULL, {NOW}, {NOW} + 60", Reason.INVALID),
            (f"NULL, 'me', {NOW}, {NOW} + 60", Reason.INVALID),
            (f"'x', NULL, {NOW}, 'infinity'", Reason.INVALID),
            (f"'x', NULL, {NOW}, 'NaN'", Reason.INVALID),
            (f"'x', NULL, 'NaN', {NOW} + 60", Reason.INVALID),
            (f"'x', NULL, '-infinity', {NOW} + 60", Reason.INVALID),
            (f"'x', NULL, {NOW} + 3600, {NOW} + 7200", None),
            (f"'x', NULL, {NOW} - 60, {NOW}", None),
        ],
    )
    @in_loop
    async def test_a_row_that_is_not_ours_is_not_served_and_is_replaced(
        self, postgres_database: str, row: str, reason: Reason | None
    ):
        """No bytes, no end, no beginning: `invalid`; of the future or over: `None`; the next entry takes its place."""
        execute(postgres_database, table_statement("postgresql"), f"INSERT INTO {TABLE} VALUES ('a', {row})")
        async with asked(postgres_database) as cache:
            if reason is None:
                assert await cache.get("a") is None
            else:
                assert (await reason_of(cache.get("a")))[0] is reason
            await cache.put("a", b"words", 60)
            assert await cache.get("a") is not None
