"""The contract of ledgers, held by every store of heartbeats on its real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from contract.ledger_backend import (
    LedgerBackend,
    SqlBackend,
    SqliteBackend,
    mariadb,
    opened,
    postgresql,
    redis,
    valkey,
)
from loop import in_loop
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.workers import MOST_RUNNING, Beat, Ledger, RunningTask

TABLES: dict[str, Callable[[], LedgerBackend]] = {
    "postgresql": postgresql,
    "mariadb": mariadb,
    "sqlite": SqliteBackend,
}
SERVED: dict[str, Callable[[], LedgerBackend]] = {
    "postgresql": postgresql,
    "mariadb": mariadb,
    "redis": redis,
    "valkey": valkey,
}
LEDGERS = {**TABLES, **SERVED}

HUNG_SECONDS = 0.3
"""Longest wait for a store that does not answer."""

DAY_SECONDS = 86_400

Servers = dict[str, LedgerBackend]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Every store that was asked for so far, by its name; all are ended at the end."""
    made: Servers = {}
    yield made
    for backend in made.values():
        backend.end()


@pytest.fixture(params=LEDGERS)
def backend(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LedgerBackend]:
    """A store without a heartbeat."""
    yield from _empty(servers, request.param)


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LedgerBackend]:
    """A store without a heartbeat, with a server that can be away."""
    yield from _empty(servers, request.param)


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest, servers: Servers) -> Iterator[SqlBackend]:
    """A database without a table of ours."""
    yield from _empty(servers, request.param)


def _empty(servers: Servers, name: str) -> Iterator[LedgerBackend]:
    if name not in servers:
        servers[name] = LEDGERS[name]()
    servers[name].clear()
    try:
        yield servers[name]
    finally:
        servers[name].heal()


def worker(name: str = "a", **said) -> Beat:
    """Return a beat of the worker *name*."""
    return Beat(worker_id=name, **{"engine": "celery", "host": "h", "pid": 7, "period_seconds": 5.0, **said})


FULL = worker(
    "celery@host-1:7 ÄÖ 🐢 'quoted' \"twice\" \\ %s :name",
    version="2026.11.24+a1b2",
    queues=("orders", "mail, urgent"),
    running=tuple(RunningTask(f"id-{n}", "shop.orders.charge\n\x00", None, 12.5 + n) for n in range(MOST_RUNNING)),
    running_count=2 * MOST_RUNNING,
    done=2**40,
    failed=3,
    lag_seconds=0.125,
    idle_seconds=0.5,
    stalled=True,
    up_seconds=7200.25,
    gap_seconds=5.5,
    owner_id="executor 1",
)

QUESTIONS: dict[str, Callable[[Ledger], object]] = {
    "beat": lambda ledger: ledger.beat(worker()),
    "leave": lambda ledger: ledger.leave("a"),
    "read": lambda ledger: ledger.read(),
}


async def fault_of(ledger: Ledger, question: str) -> LedgerFault:
    """Return the fault of *question*, which must not be answered."""
    with pytest.raises(LedgerFault) as raised:
        await QUESTIONS[question](ledger)
    return raised.value


class TestKeeping:
    """The newest beat of each worker, by the clock of the store."""

    @in_loop
    async def test_what_a_worker_says_is_what_is_read(self, backend):
        """Every field, with every sign; the second beat is in the place of the first."""
        async with opened(backend) as ledger, opened(backend) as another:
            await ledger.beat(FULL)
            (seen,) = await another.read()
            assert seen.beat == FULL
            newer = replace(FULL, running=(), running_count=0, stalled=False, version=None, queues=(), owner_id=None)
            await ledger.beat(newer)
            (again,) = await another.read()
            assert again.beat == newer
            assert again.at > seen.at

    @in_loop
    async def test_the_newest_stand_first_and_each_worker_once(self, backend):
        """Also those whose names differ in case or in an accent alone."""
        names = ["a", "A", "b", "ä", "x" * 200]
        async with opened(backend) as ledger:
            for name in [*names, "a"]:
                await ledger.beat(worker(name))
            assert [seen.beat.worker_id for seen in await ledger.read()] == ["a", *reversed(names[1:])]

    @in_loop
    async def test_an_age_is_by_the_clock_of_the_store_and_never_negative(self, backend):
        """It grows with time, agrees with `at`, and one that was written in time to come is 0."""
        async with opened(backend) as ledger:
            before = time.time()
            await ledger.beat(worker("old"))
            await ledger.beat(worker("ahead"))
            backend.move("old", -100)
            backend.move("ahead", +100)
            read = {seen.beat.worker_id: seen for seen in await ledger.read()}
            took = time.time() - before
            assert 100 <= read["old"].age_seconds <= 101 + took
            assert read["ahead"].age_seconds == 0
            # Both run on this machine, so its clock is the store's.
            assert before - 1 <= read["old"].at + 100 <= before + took + 1

    @in_loop
    async def test_who_leaves_is_gone_and_may_come_back(self, backend):
        """Leaving twice is no fault, nor is it where nobody was."""
        async with opened(backend) as ledger:
            await ledger.beat(worker("a"))
            await ledger.beat(worker("b"))
            await ledger.leave("a")
            await ledger.leave("a")
            assert [seen.beat.worker_id for seen in await ledger.read()] == ["b"]
            await ledger.beat(worker("a"))
            assert {seen.beat.worker_id for seen in await ledger.read()} == {"a", "b"}

    @in_loop
    async def test_the_long_dead_are_forgotten_by_those_who_write(self, backend):
        """One dead for less stays; so does one whose beat is ahead because the clock was set back an hour."""
        async with opened(backend, forget_after_seconds=DAY_SECONDS) as ledger:
            for name in ("long dead", "dead", "ahead"):
                await ledger.beat(worker(name))
            backend.move("long dead", -DAY_SECONDS - 10)
            backend.move("dead", -DAY_SECONDS + 600)
            backend.move("ahead", +3600)
        async with opened(backend, forget_after_seconds=DAY_SECONDS) as another:
            await another.beat(worker("new"))
            assert {seen.beat.worker_id for seen in await another.read()} == {"dead", "ahead", "new"}

    @in_loop
    async def test_a_beat_that_is_not_ours_is_nobody(self, backend):
        """Nothing is known of that worker; the others are told."""
        async with opened(backend) as ledger:
            await ledger.beat(worker("a"))
            await ledger.beat(worker("b"))
            backend.spoil("a")
            assert [seen.beat.worker_id for seen in await ledger.read()] == ["b"]
            await ledger.beat(worker("a"))
            assert {seen.beat.worker_id for seen in await ledger.read()} == {"a", "b"}

    @in_loop
    async def test_many_write_at_the_same_moment(self, backend):
        """Each for itself, from connections of their own, over and over; nobody is refused."""
        ledgers = [backend.ledger() for _ in range(6)]

        async def work(number: int, ledger: Ledger) -> None:
            for turn in range(8):
                await ledger.beat(worker(f"w{number}", done=turn))
                if turn % 3 == number % 3:
                    await ledger.leave(f"w{number}")
                    await ledger.beat(worker(f"w{number}", done=turn))

        try:
            await asyncio.gather(*(work(number, ledger) for number, ledger in enumerate(ledgers)))
            read = await ledgers[0].read()
            assert {seen.beat.worker_id: seen.beat.done for seen in read} == {f"w{n}": 7 for n in range(6)}
        finally:
            for ledger in ledgers:
                await ledger.close()

    @in_loop
    async def test_a_name_of_any_length_and_kind_is_taken_or_refused_as_a_fault(self, backend):
        """Nothing but a `LedgerFault` is raised, and the next beat is taken."""
        async with opened(backend) as ledger:
            for name in ("x" * 5000, "nul\x00", "half a pair \ud800", ""):
                await suffered(ledger.beat(worker(name, host=name, version=name, queues=(name,))))
            await ledger.beat(worker("fine"))
            assert "fine" in {seen.beat.worker_id for seen in await ledger.read()}


class TestAway:
    """A store that is away costs its asker the time that is given to it, and says why."""

    @in_loop
    async def test_nobody_was_ever_here(self, backend):
        """That is `missing`, or no worker: a reader makes nothing, and leaving is no fault worth more than a line."""
        async with opened(backend) as ledger:
            assert await suffered(ledger.read()) in ([], Reason.MISSING)
            assert await suffered(ledger.leave("a")) in (None, Reason.MISSING)
            if isinstance(backend, SqlBackend):
                assert "tasker_health_workers" not in tables_of(backend)

    @pytest.mark.parametrize("question", QUESTIONS)
    @in_loop
    async def test_one_that_hangs_is_a_timeout_in_time_and_comes_back(self, served, question):
        """By the same client, as soon as it goes on."""
        async with opened(served) as patient, opened(served, 2) as ledger:
            await patient.beat(worker())
            await ledger.read()
            ledger._timeout_seconds = HUNG_SECONDS
            cache = getattr(ledger, "_cache", None)
            if cache is not None:
                cache._timeout_seconds = HUNG_SECONDS
            served.server.pause()
            began = time.monotonic()
            fault = await fault_of(ledger, question)
            took = time.monotonic() - began
            served.server.resume()
            assert fault.reason is Reason.TIMEOUT
            assert took < HUNG_SECONDS + 5
            await until(lambda: patient.beat(worker("b")))
            assert "b" in {seen.beat.worker_id for seen in await patient.read()}

    @in_loop
    async def test_one_that_has_died_is_told_and_comes_back(self, served):
        """Refused, not hung; then the very same clients go on, though the store may have forgotten everybody."""
        async with opened(served) as ledger, opened(served) as reader:
            await ledger.beat(worker())
            await reader.read()
            served.server.kill()
            for question in QUESTIONS:
                for _ in range(2):
                    fault = await fault_of(ledger, question)
                assert fault.reason in {Reason.REFUSED, Reason.UNREACHABLE}, (question, fault)
            served.server.start()
            await until(lambda: ledger.beat(worker()))
            await until(reader.read)
            assert [seen.beat.worker_id for seen in await reader.read()] == ["a"]

    @pytest.mark.parametrize("question", QUESTIONS)
    @in_loop
    async def test_what_is_another_programs_is_a_fault_and_stays_as_it_is(self, backend, question):
        """No figure is made of it, and it is not overwritten."""
        backend.occupy()
        async with opened(backend) as ledger:
            fault = await fault_of(ledger, question)
            assert fault.reason in {Reason.INVALID, Reason.UNKNOWN_VERSION}, fault
        if isinstance(backend, SqlBackend):
            assert backend.ask("SELECT words FROM tasker_health_workers") == [("somebody else",)]

    @in_loop
    async def test_it_is_used_on_one_loop_after_another(self, backend):
        """As by a worker that runs its loop anew; `asyncio.run` of this test is the last of three."""
        ledger = backend.ledger()

        async def work(name: str) -> None:
            await ledger.beat(worker(name))
            await ledger.close()

        for number in range(2):
            await asyncio.to_thread(asyncio.run, work(f"w{number}"))
        assert {seen.beat.worker_id for seen in await ledger.read()} == {"w0", "w1"}
        await ledger.close()


class TestTable:
    """The table is made by who is allowed to, once, and known by its version."""

    @in_loop
    async def test_of_many_who_come_first_one_makes_it_and_all_go_on(self, table):
        """At the same moment, from connections of their own."""
        ledgers = [table.ledger() for _ in range(5)]
        try:
            await asyncio.gather(*(ledger.beat(worker(f"w{n}")) for n, ledger in enumerate(ledgers)))
            assert len(await ledgers[0].read()) == len(ledgers)
        finally:
            for ledger in ledgers:
                await ledger.close()
        assert table.ask("SELECT version_num FROM tasker_health_version") == [("0001",)]

    @in_loop
    async def test_who_may_not_make_it_says_who_can(self, table):
        """With `workers.make_table` off it is `missing`, with the command; made by that, the same client goes on."""
        ledger, owner = table.ledger(makes_table=False), table.ledger()
        try:
            fault = await fault_of(ledger, "beat")
            assert fault.reason is Reason.MISSING
            assert "tasker-health workers migrate" in str(fault)
            assert "tasker_health_workers" not in tables_of(table)
            await owner.make_table()
            await owner.make_table()
            await ledger.beat(worker())
            assert len(await ledger.read()) == 1
        finally:
            await ledger.close()
            await owner.close()

    @in_loop
    async def test_one_that_is_dropped_under_way_is_made_again(self, table):
        """By the next beat; the row of the version, which may have stayed, does not keep it from that."""
        async with opened(table) as ledger:
            await ledger.beat(worker())
            table.execute("DROP TABLE tasker_health_workers")
            await ledger.beat(worker())
            assert len(await ledger.read()) == 1

    @pytest.mark.parametrize("question", QUESTIONS)
    @in_loop
    async def test_one_of_a_version_to_come_is_an_unknown_version(self, table, question):
        """Though its columns may look like ours: nothing is written and no figure is told."""
        async with opened(table) as ledger:
            await ledger.beat(worker())
        table.execute("UPDATE tasker_health_version SET version_num = '9999'")
        async with opened(table) as ledger:
            fault = await fault_of(ledger, question)
        assert fault.reason is Reason.UNKNOWN_VERSION
        assert "9999" in str(fault)
        assert len(table.ask("SELECT 1 FROM tasker_health_workers")) == 1

    @in_loop
    async def test_a_person_can_read_it(self, table):
        """In columns: who, where, on what, since when."""
        async with opened(table) as ledger:
            await ledger.beat(replace(FULL, worker_id="w"))
        columns = "engine, host, pid, version, queues, running_count, done, failed, lag_seconds, idle_seconds"
        ((*row, stalled, period),) = table.ask(f"SELECT {columns}, stalled, period_seconds FROM tasker_health_workers")
        assert row == ["celery", "h", 7, FULL.version, "orders,mail, urgent", 128, 2**40, 3, 0.125, 0.5]
        assert (bool(stalled), period) == (True, 5.0)


async def until(attempt, seconds: float = 30) -> None:
    """Try again while the store is not back."""
    ends_at = time.monotonic() + seconds
    while True:
        try:
            await attempt()
        except LedgerFault:
            assert time.monotonic() < ends_at, "the store does not come back"
            await asyncio.sleep(0.02)
        else:
            return


async def suffered(question) -> object:
    """Return what *question* answers, or the reason of its fault; nothing else may be raised."""
    try:
        return await question
    except LedgerFault as fault:
        return fault.reason


def tables_of(backend: SqlBackend) -> set[str]:
    """Return the names of all tables."""
    if isinstance(backend, SqliteBackend):
        found = backend.ask("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        schema = "'public'" if backend.url.startswith("postgresql") else "database()"
        found = backend.ask(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}")
    return {name for (name,) in found}
