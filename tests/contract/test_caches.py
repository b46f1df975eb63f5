"""The contract of caches, held by every back end against its real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from contract.cache_backend import (
    PATIENCE_SECONDS,
    CacheBackend,
    MemoryBackend,
    SentinelBackend,
    SharedBackend,
    redis_backend,
    secure_backend,
    valkey_backend,
)
from contract.memcached_backend import MemcachedBackend
from contract.sql_backend import SqlOnPostgres, SqlOnSqlite
from loop import in_loop
from tasker_health.cache import MOST_BYTES, Cache
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

SHARED: dict[str, Callable[[], SharedBackend]] = {
    "redis": redis_backend,
    "valkey": valkey_backend,
    "redis-secure": secure_backend,
    "redis-sentinel": SentinelBackend,
    "memcached": MemcachedBackend,
    "sql-postgresql": SqlOnPostgres,
}
CACHES: dict[str, Callable[[], CacheBackend]] = {"memory": MemoryBackend, "sql-sqlite": SqlOnSqlite, **SHARED}

HUNG_SECONDS = 0.3
"""Deadline of a question that will not be answered; one that will may take `PATIENCE_SECONDS`."""

Servers = dict[str, CacheBackend]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Every back end that was asked for so far, by its name; all are ended at the end."""
    made: Servers = {}
    yield made
    for backend in made.values():
        backend.end()


@pytest.fixture(params=CACHES)
def backend(request: pytest.FixtureRequest, servers: Servers) -> Iterator[CacheBackend]:
    """A cache that holds nothing."""
    yield from _empty(servers, request.param)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, servers: Servers) -> Iterator[CacheBackend]:
    """A cache that holds nothing, with a server that can be away."""
    yield from _empty(servers, request.param)


def _empty(servers: Servers, name: str) -> Iterator[CacheBackend]:
    if name not in servers:
        servers[name] = CACHES[name]()
    servers[name].clear()
    try:
        yield servers[name]
    finally:
        servers[name].heal()


@contextlib.asynccontextmanager
async def opened(backend: CacheBackend, timeout_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Cache]:
    """Give a new client, closed at the end."""
    cache = backend.cache(timeout_seconds)
    try:
        yield cache
    finally:
        await cache.close()


async def value_of(cache: Cache, key: str) -> bytes | None:
    """Return what lies under *key*, without its age."""
    held = await cache.get(key)
    return None if held is None else held.value


def short_of(cache: Cache) -> float:
    """Return the seconds of what is to end in a test: few where the clock is fine."""
    return 1 if cache.coarse_seconds > 0.1 else 0.3


async def until(condition, what: str, seconds: float = PATIENCE_SECONDS):
    """Return what the coroutine function *condition* answers as soon as that is true."""
    ends_at = time.monotonic() + seconds
    while not (answer := await condition()):
        assert time.monotonic() < ends_at, f"not in time: {what}"
        await asyncio.sleep(0.01)
    return answer


QUESTIONS: dict[str, Callable[[Cache], object]] = {
    "get": lambda cache: cache.get("entry"),
    "put": lambda cache: cache.put("entry", b"x" * MOST_BYTES, 60),
    "acquire": lambda cache: cache.acquire("lease", "a", 60),
    "release": lambda cache: cache.release("lease", "a"),
}


async def fault_of(cache: Cache, question: str) -> CacheFault:
    """Return the fault of *question*, which must not be answered."""
    with pytest.raises(CacheFault) as raised:
        await QUESTIONS[question](cache)
    return raised.value


class TestKeeping:
    """What is put is what is got, until its time ends."""

    @in_loop
    async def test_gives_back_what_was_put(self, backend):
        """Every byte value, nothing at all, words of protocols, and as much as is allowed."""
        values = [
            bytes(range(256)),
            b"",
            b"\r\n",
            b"END\r\n",
            b"$-1\r\n",
            b"\0",
            random.Random(1).randbytes(MOST_BYTES),
        ]
        async with opened(backend) as cache:
            for value in values:
                await cache.put("entry", value, 60)
                assert await value_of(cache, "entry") == value
            async with opened(backend) as another:
                assert await value_of(another, "entry") == values[-1]

    @in_loop
    async def test_holds_nothing_that_was_not_put(self, backend):
        """A key that nobody has put is none."""
        async with opened(backend) as cache:
            await cache.put("entry", b"x", 60)
            assert await cache.get("entry2") is None

    @in_loop
    async def test_a_later_value_takes_the_place_of_an_earlier_one(self, backend):
        """With an age and an end of its own."""
        async with opened(backend) as cache:
            short = short_of(cache)
            await cache.put("entry", b"first", short * 2)

            async def is_old():
                held = await cache.get("entry")
                return held is None or held.age_seconds > 0.2

            await until(is_old, "the first one ages")
            put_at = time.monotonic()
            await cache.put("entry", b"second", 60)
            value, age = await cache.get("entry")
            assert value == b"second"
            assert age <= time.monotonic() - put_at + cache.coarse_seconds
            await cache.put("mark", b"x", short * 2)

            async def has_ended():
                return await cache.get("mark") is None

            await until(has_ended, "the first one's time is over")
            assert await value_of(cache, "entry") == b"second"

    @pytest.mark.parametrize("shift_seconds", [0, -300, 300])
    @in_loop
    async def test_age_is_by_the_clock_of_the_cache(self, backend, shift_seconds, monkeypatch):
        """Never below the truth, at most `coarse_seconds` above it, whatever this process's clock says."""
        true_time, shift = time.time, 0.0
        monkeypatch.setattr(time, "time", lambda: true_time() + shift)
        async with opened(backend) as cache:
            before = time.monotonic()
            await cache.put("entry", b"x", 60)
            after = time.monotonic()
            shift = shift_seconds
            while time.monotonic() < after + 0.2:
                asked_at = time.monotonic()
                _, age = await cache.get("entry")
                answered_at = time.monotonic()
                assert asked_at - after <= age <= answered_at - before + cache.coarse_seconds
                await asyncio.sleep(0.02)

    @in_loop
    async def test_an_entry_ends(self, backend):
        """It is there for its time, and not after it."""
        async with opened(backend) as cache:
            short = short_of(cache)
            began = time.monotonic()
            await cache.put("entry", b"x", short)
            while (held := await cache.get("entry")) is not None:
                assert held.age_seconds <= short + 2 * cache.coarse_seconds
                await asyncio.sleep(0.01)
            lasted = time.monotonic() - began
            assert short - cache.coarse_seconds <= lasted < PATIENCE_SECONDS

    @in_loop
    async def test_keys_of_all_that_is_allowed(self, backend):
        """The shortest, the longest, every character; each has its own value."""
        printable = "".join(map(chr, range(0x21, 0x7F)))
        keys = [
            "k",
            "K",
            printable,
            printable[:40],
            "x" * 199 + "1",
            "x" * 199 + "2",
            "x" * 199,
            "%",
            "_",
            "a%b",
            "a_b",
        ]
        async with opened(backend) as cache:
            for key in keys:
                await cache.put(key, key.encode(), 60)
            assert [await value_of(cache, key) for key in keys] == [key.encode() for key in keys]

    @in_loop
    async def test_what_is_too_long_is_not_transferred(self, backend):
        """The asker sees that it is too much, and the cache has not sent all of it."""
        backend.put_raw("entry", b"x" * backend.longest_raw, 60)
        async with opened(backend) as cache:
            await cache.get("another")
            before = backend.sent_bytes() if isinstance(backend, SharedBackend) else None
            try:
                seen = len(await value_of(cache, "entry"))
            except CacheFault as fault:
                seen = fault.reason
            assert seen in {MOST_BYTES + 1, Reason.INVALID}
            if before is not None:
                assert backend.sent_bytes() - before < MOST_BYTES + 32_768

    @in_loop
    async def test_what_is_put_too_long_is_refused_or_seen_to_be(self, backend):
        """A fault at once, or one byte more than is allowed when it is read."""
        async with opened(backend) as cache:
            try:
                await cache.put("entry", b"x" * (MOST_BYTES + 1000), 60)
            except CacheFault:
                assert await cache.get("entry") is None
            else:
                assert len(await value_of(cache, "entry")) == MOST_BYTES + 1

    @in_loop
    async def test_what_is_not_ours_is_invalid(self, backend):
        """Of another kind, or without an end; the next question is answered."""
        async with opened(backend) as cache:
            await cache.put("entry", b"x", 60)
            for number, (name, lay) in enumerate(backend.oddities.items()):
                lay(f"odd{number}")
                with pytest.raises(CacheFault) as raised:
                    await cache.get(f"odd{number}")
                assert raised.value.reason is Reason.INVALID, name
                assert await value_of(cache, "entry") == b"x", name
                await cache.put(f"odd{number}", b"ours", 60)
                assert await value_of(cache, f"odd{number}") == b"ours", name


class TestLeases:
    """One holder at a time, and never for ever."""

    @in_loop
    async def test_one_has_it_and_others_do_not(self, backend):
        """It is granted, refused to another, granted again to the one who has it, and given up."""
        async with opened(backend) as cache, opened(backend) as another:
            assert await cache.acquire("lease", "a", 60) is True
            assert await another.acquire("lease", "b", 60) is False
            assert await another.acquire("lease2", "b", 60) is True
            assert await another.acquire("lease", "a", 60) is True
            await another.release("lease", "b")
            assert await another.acquire("lease", "b", 60) is False
            await cache.release("lease", "a")
            assert await another.acquire("lease", "b", 60) is True
            await cache.release("lease", "a")
            assert await cache.acquire("lease", "a", 60) is False
            await cache.release("never", "a")

    @in_loop
    async def test_it_runs_out(self, backend):
        """When its holder says nothing more, another one gets it, not before its time; renewed, it lasts longer."""
        async with opened(backend) as cache:
            short = short_of(cache)
            began = time.monotonic()
            assert await cache.acquire("short", "a", short)
            assert await cache.acquire("long", "a", short)
            assert await cache.acquire("long", "a", 60)

            async def is_free():
                return await cache.acquire("short", "b", 60)

            await until(is_free, "the lease runs out")
            assert time.monotonic() - began >= short - cache.coarse_seconds
            assert not await cache.acquire("long", "b", 60)
            await cache.release("short", "a")
            assert not await cache.acquire("short", "a", 60)

    @in_loop
    async def test_of_many_exactly_one_gets_it(self, backend):
        """However many ask at once, over however many connections."""
        async with contextlib.AsyncExitStack() as stack:
            caches = [await stack.enter_async_context(opened(backend)) for _ in range(5)]
            for number in range(5):
                answers = await asyncio.gather(
                    *(caches[asker % 5].acquire(f"lease{number}", f"holder{asker}", 60) for asker in range(40))
                )
                assert sorted(answers) == [False] * 39 + [True]


class TestAskers:
    """Many askers at once, askers that leave, and clients that begin anew."""

    @in_loop
    async def test_each_of_many_gets_its_own_answer(self, backend):
        """Concurrent questions are not confused."""
        async with opened(backend) as cache:

            async def ask(number):
                await cache.put(f"entry{number}", b"%d" % number * (number % 7 * 1000 + 1), 60)
                return await value_of(cache, f"entry{number}")

            answers = await asyncio.gather(*map(ask, range(100)))
            assert answers == [b"%d" % number * (number % 7 * 1000 + 1) for number in range(100)]

    @in_loop
    async def test_one_that_leaves_disturbs_nobody(self, backend):
        """Whenever a question is cancelled, the next ones get what they asked for."""
        chance = random.Random(6)
        async with opened(backend) as cache:
            for number in range(4):
                await cache.put(f"entry{number}", b"%d" % number * 5000, 60)
            for turn in range(120):
                leaving = [
                    asyncio.ensure_future(cache.get("entry0")),
                    asyncio.ensure_future(cache.acquire(f"lease{turn}", "a", 60)),
                    asyncio.ensure_future(cache.put("else", b"x" * chance.choice([1, 100_000]), 60)),
                ]
                staying = [asyncio.ensure_future(value_of(cache, f"entry{number}")) for number in (1, 2)]
                chance.shuffle(leaving)
                for task in leaving:
                    for _ in range(chance.randrange(12)):
                        await asyncio.sleep(0)
                    if chance.random() < 0.5:
                        await asyncio.sleep(chance.random() / 1000)
                    task.cancel()
                assert await value_of(cache, "entry3") == b"3" * 5000
                assert [await task for task in staying] == [b"1" * 5000, b"2" * 5000]
                await asyncio.wait(leaving)

    @in_loop
    async def test_it_can_be_used_after_a_close(self, backend):
        """A close may come twice, and before the first question; the next question begins anew."""
        cache = backend.cache()
        await cache.close()
        assert await cache.get("entry") is None
        await cache.close()
        await cache.close()
        await cache.put("entry", b"x", 60)
        assert await value_of(cache, "entry") == b"x"
        await cache.close()

    def test_it_begins_anew_on_another_event_loop(self, backend):
        """Whether or not the earlier loop has ended, and without a close there."""
        cache = backend.cache()

        async def play(value):
            await cache.put("entry", value, 60)
            return await value_of(cache, "entry")

        assert asyncio.run(play(b"first")) == b"first"
        with asyncio.Runner() as kept:
            assert kept.run(play(b"second")) == b"second"
            assert asyncio.run(play(b"third")) == b"third"
            assert kept.run(play(b"fourth")) == b"fourth"

        async def end():
            assert await play(b"fifth") == b"fifth"
            await cache.close()

        asyncio.run(end())


class TestTrouble:
    """A server that is away costs the deadline, and is asked again when it is back."""

    @pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "new"])
    @in_loop
    async def test_a_hung_server_costs_the_deadline(self, shared, is_connected):
        """`timeout`, in time, whatever is asked; when it goes on, the same client works at once."""
        async with contextlib.AsyncExitStack() as stack:
            caches = {name: await stack.enter_async_context(opened(shared, HUNG_SECONDS)) for name in QUESTIONS}
            patient = await stack.enter_async_context(opened(shared))
            if is_connected:
                await asyncio.gather(*(cache.acquire("lease", "b", 60) for cache in caches.values()))

            async def ask(name):
                began = time.monotonic()
                fault = await fault_of(caches[name], name)
                return fault.reason, time.monotonic() - began

            shared.pause()
            answers = await asyncio.gather(*map(ask, QUESTIONS))
            shared.resume()
            for reason, took in answers:
                assert reason is Reason.TIMEOUT
                assert HUNG_SECONDS * 0.9 <= took < HUNG_SECONDS + 2
            await patient.put("mark", b"x", 60)  # it goes on
            for name, cache in caches.items():
                await cache.put(name, name.encode(), 60)
                assert await value_of(cache, name) == name.encode()

    @in_loop
    async def test_what_was_not_put_in_time_is_not_put_later(self, shared):
        """A server that goes on does not begin the age of what it was sent long ago: facts would seem young."""
        async with opened(shared, HUNG_SECONDS) as cache, opened(shared) as patient:
            await cache.put("mark", b"x", 60)
            shared.pause()
            assert (await fault_of(cache, "put")).reason is Reason.TIMEOUT
            shared.resume()
            for _ in range(3):  # each after whatever it has read meanwhile
                await patient.put("mark", b"y", 60)
            assert await value_of(patient, "entry") is None

    @in_loop
    async def test_many_askers_of_a_hung_server_wait_side_by_side(self, shared):
        """Each gets its fault within its own deadline, not one after the other."""
        async with opened(shared, HUNG_SECONDS) as cache:
            await cache.get("entry")
            shared.pause()
            began = time.monotonic()
            faults = await asyncio.gather(*(fault_of(cache, "get") for _ in range(20)))
            took = time.monotonic() - began
            shared.resume()
            assert {fault.reason for fault in faults} == {Reason.TIMEOUT}
            assert took < HUNG_SECONDS + 2

    @in_loop
    async def test_a_stopped_server_is_a_fault_and_comes_back(self, shared):
        """The same client works as soon as it is started again."""
        async with opened(shared) as cache:
            await cache.put("entry", b"x", 60)
            shared.stop()
            for question in QUESTIONS:
                fault = await fault_of(cache, question)
                assert fault.reason in {Reason.REFUSED, Reason.UNREACHABLE}, question
            shared.start()
            await cache.put("entry", b"y", 60)
            assert await value_of(cache, "entry") == b"y"

    @in_loop
    async def test_a_restart_between_two_questions_costs_one_at_most(self, shared):
        """The connection that it ended is not used again and again."""
        async with opened(shared) as cache:
            await cache.put("entry", b"x", 60)
            shared.stop()
            shared.start()
            with contextlib.suppress(CacheFault):
                await cache.get("entry")
            await cache.put("entry", b"y", 60)
            assert await value_of(cache, "entry") == b"y"

    @in_loop
    async def test_a_hundred_hung_questions_leave_nothing_behind(self, shared):
        """No descriptor, no task, no thread; asked one by one, side by side, and when the asker leaves."""
        async with opened(shared) as warm:
            await warm.get("entry")
        before = _kept()
        async with opened(shared, 0.02) as cache, opened(shared, HUNG_SECONDS) as connected:
            await connected.get("entry")
            shared.pause()
            await fault_of(connected, "put")
            for _ in range(30):
                await fault_of(cache, "get")
            await asyncio.gather(*(fault_of(cache, "put") for _ in range(50)))
            for number in range(20):
                task = asyncio.ensure_future(cache.get("entry"))
                await asyncio.sleep(number / 2000)
                task.cancel()
                await asyncio.wait({task})
                with contextlib.suppress(CacheFault, asyncio.CancelledError):
                    task.result()
            await cache.close()

            async def is_left():
                return all(now <= then for now, then in zip(_kept(), before, strict=True))

            await until(is_left, "nothing is left of it", seconds=10)
            shared.resume()

    def test_a_child_leaves_its_parents_connection_alone(self, shared):
        """Both are answered after a fork; the parent goes on with the connection that it had."""
        recipe = shared.recipe()
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", _FORK, *sys.path],
            input=json.dumps([recipe.module, recipe.function, recipe.arguments]),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def _kept() -> tuple[int, int, int]:
    """Return how many descriptors, tasks and threads this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), len(asyncio.all_tasks()), threading.active_count()


_FORK = """
import asyncio, importlib, json, os, sys

sys.path[:] = sys.argv[1:]
module, function, arguments = json.load(sys.stdin)
cache = getattr(importlib.import_module(module), function)(**arguments)
connected = []
sys.addaudithook(lambda event, given: connected.append(given) if event == "socket.connect" else None)

async def ask(value):
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is not what is looked for
    await cache.put("entry", value, 60)
    assert (await cache.get("entry")).value == value

async def last(value):
    await ask(value)
    await cache.close()

with asyncio.Runner() as runner:
    runner.run(ask(b"parent"))
    before = len(connected)
    for how in (ask, last):
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(how(b"child"))
            except BaseException as error:
                sys.stderr.write(f"child: {error!r}")
                os._exit(1)
            os._exit(7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        runner.run(ask(b"parent again"))
        assert len(connected) == before, "the parent had to connect again"
    runner.run(last(b"end"))
print("well")
"""
