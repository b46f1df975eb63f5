"""A hit from each shared cache, beside a bare client that reads the same bytes and beside the database."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from bench.machine import CLIENT_CORE, on_core
from bench.postgresql import TESTS
from bench.table import Goal, Table

ROUNDS, QUESTIONS = 15, 200
MOST_TIMES = 1.5
KEY = "tasker_health:2:bench:shop"
_PATIENCE_SECONDS = 10
_NO_GOAL = "memory"
"""A dictionary is no client: the ratio says what a coroutine costs."""

_WHAT = """Bare is the usual client in one line (redis-py, aiomcache, psycopg with a prepared statement, aiosqlite, a
dictionary) reading the same bytes. Ours also tells the age by the server's clock and has a deadline of its own. A whole
hit opens the entry, too: signature, form, whose it is.""".replace("\n", " ")

Ask = Callable[[], Awaitable[Any]]


class Subject(NamedTuple):
    """One cache: how we ask it, how a bare client does, and a whole hit with opening and believing the entry."""

    name: str
    bare: Ask
    ours: Ask
    hit: Ask


class Timed:
    """The times of one way to ask, in microseconds: of each round the median, and all of them."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.medians: list[float] = []
        self._all: list[float] = []

    async def round(self) -> None:
        """Ask some times, one after the other."""
        took = []
        for _ in range(QUESTIONS):
            began = time.perf_counter()
            answer = await self._ask()
            took.append((time.perf_counter() - began) * 1e6)
            if answer is None:
                raise RuntimeError("the entry is not there")
        self.medians.append(statistics.median(took))
        self._all += took

    @property
    def p50(self) -> float:
        """Half of the questions took no longer."""
        return statistics.median(self._all)

    @property
    def p99(self) -> float:
        """All but one of a hundred took no longer."""
        return statistics.quantiles(self._all, n=100)[98]

    def times(self, other: Timed) -> float:
        """Return the median over the rounds of how many times as long as *other* this took in the same round."""
        return statistics.median(mine / its for mine, its in zip(self.medians, other.medians, strict=True))


def measure(rounds: int | None) -> Table:
    """Return what a hit costs, over *rounds* that take turns."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    with on_core(CLIENT_CORE):
        return asyncio.run(_measure(rounds or ROUNDS))


async def _measure(rounds: int) -> Table:
    async with AsyncExitStack() as stack:
        subjects, size = await _subjects(stack)
        timed = {each.name: (Timed(each.bare), Timed(each.ours), Timed(each.hit)) for each in subjects}
        order = [one for three in timed.values() for one in three]
        for number in range(-1, rounds):
            for one in order[:: -1 if number % 2 else 1]:
                await one.round()
            if number < 0:  # the first round opens connections and prepares statements
                timed = {each.name: (Timed(each.bare), Timed(each.ours), Timed(each.hit)) for each in subjects}
                order = [one for three in timed.values() for one in three]
    return _table(timed, rounds, size)


def _table(timed: dict[str, tuple[Timed, Timed, Timed]], rounds: int, size: int) -> Table:
    table = Table(
        "Caches: reading one entry, one question at a time",
        ["cache", "bare p50 µs", "p99", "ours p50 µs", "p99", "times bare", "whole hit p50 µs", "p99"],
        notes=[
            f"{rounds} rounds of {QUESTIONS} questions each, taking turns; the ratio is the median of the rounds'.",
            f"The entry has {size:,} bytes and is signed. {_WHAT}",
            "The caches in SQL ask in a transaction that sets the server's time limits first: four round trips.",
            "A status asks a cache once in its time to live, not once an answer: in between it is kept in the process.",
        ],
    )
    for name, (bare, ours, hit) in timed.items():
        times = ours.times(bare)
        figures = (bare.p50, bare.p99, ours.p50, ours.p99)
        row = (*(f"{each:.0f}" for each in figures), f"{times:.2f}", f"{hit.p50:.0f}", f"{hit.p99:.0f}")
        table.rows.append((name, *row))
        if name != _NO_GOAL:
            table.goals.append(Goal(f"{name}, ours against a bare client", times, MOST_TIMES))
    redis, sql = timed["redis"], timed["sql (PostgreSQL)"]
    table.notes.append(
        "The original claims that Redis is five times as fast as the cache in the database. Here the database takes"
        f" {sql[0].times(redis[0]):.2f} times as long as Redis through bare clients, and"
        f" {sql[1].times(redis[1]):.2f} times through ours."
    )
    return table


async def _subjects(stack: AsyncExitStack) -> tuple[list[Subject], int]:
    """Return every cache with the same entry in it, and its size in bytes."""
    from fakes import facts_of
    from tasker_health.cache import Cache
    from tasker_health.cache.memory import MemoryCache
    from tasker_health.cache.sealing import Record, Sealer
    from tasker_health.cache.shared import SharedCache
    from tasker_health.clock import SystemClock

    sealer = Sealer("tasker_health", "bench", "a key of the benchmark")
    name = "shop"
    groups = {f"namespace_{number}": {"pending": number, "completed": number} for number in range(30)}
    facts = facts_of(groups=groups, tasks_by_state={"pending": 1}, steps_by_state={"complete": 2})
    record = Record(
        owner=sealer.owner(name), teller="bench", written_at=time.time(), age_seconds=0.0, facts=facts, fault=None
    )
    sealed = sealer.seal(name, record)

    async def subject(title: str, cache: Cache, bare: Ask) -> Subject:
        stack.push_async_callback(cache.close)
        await cache.put(KEY, sealed, 800)
        shared = SharedCache(cache, sealer, timeout_seconds=_PATIENCE_SECONDS, clock=SystemClock())
        return Subject(title, bare, lambda: cache.get(KEY), lambda: shared.find(name))

    made = [
        await subject("memory", MemoryCache(), _dictionary(sealed)),
        await subject("redis", *await _redis(stack, "RedisServer")),
        await subject("valkey", *await _redis(stack, "ValkeyServer")),
        await subject("memcached", *await _memcached(stack)),
        await subject("sql (PostgreSQL)", *await _postgresql(stack)),
        await subject("sql (SQLite)", *await _sqlite(stack)),
    ]
    return made, len(sealed)


def _dictionary(sealed: bytes) -> Ask:
    held = {KEY: sealed}

    async def ask() -> bytes | None:
        return held.get(KEY)

    return ask


async def _redis(stack: AsyncExitStack, kind: str) -> tuple[Any, Ask]:
    import redis.asyncio

    import caches
    from tasker_health.cache.redis import redis_cache

    server = getattr(caches, kind)()
    stack.callback(server.end)
    client = redis.asyncio.Redis(host="127.0.0.1", port=server.port)
    stack.push_async_callback(client.aclose)
    return redis_cache(server.url, timeout_seconds=_PATIENCE_SECONDS), lambda: client.get(KEY)


async def _memcached(stack: AsyncExitStack) -> tuple[Any, Ask]:
    import aiomcache

    from caches import MemcachedServer
    from tasker_health.cache.memcached import memcached_cache

    server = MemcachedServer()
    stack.callback(server.end)

    async def as_it_is(value: bytes, _flags: int) -> bytes:
        return value

    client = aiomcache.FlagClient("127.0.0.1", server.port, get_flag_handler=as_it_is)
    stack.push_async_callback(client.close)
    url = f"memcached://127.0.0.1:{server.port}"
    return memcached_cache(url, timeout_seconds=_PATIENCE_SECONDS), lambda: client.get(KEY.encode())


async def _postgresql(stack: AsyncExitStack) -> tuple[Any, Ask]:
    import psycopg

    from servers import PostgresServer
    from tasker_health.cache.sql import SqlCache
    from tasker_health.database import Database

    server = PostgresServer()
    stack.callback(server.end)
    client = await psycopg.AsyncConnection.connect(server.url, autocommit=True)
    stack.push_async_callback(client.close)

    async def ask() -> Any:
        found = await client.execute(f"SELECT value FROM tasker_health_cache WHERE key = '{KEY}'", prepare=True)
        return await found.fetchone()

    return SqlCache(Database(server.url), timeout_seconds=_PATIENCE_SECONDS), ask


async def _sqlite(stack: AsyncExitStack) -> tuple[Any, Ask]:
    import aiosqlite

    from tasker_health.cache.sql import SqlCache
    from tasker_health.database import Database

    file = f"{stack.enter_context(tempfile.TemporaryDirectory())}/shop.db"
    sqlite3.connect(file).close()
    client = await aiosqlite.connect(file)
    stack.push_async_callback(client.close)

    async def ask() -> Any:
        async with client.execute("SELECT value FROM tasker_health_cache WHERE key = ?", (KEY,)) as found:
            return await found.fetchone()

    return SqlCache(Database(f"sqlite:///{file}"), timeout_seconds=_PATIENCE_SECONDS), ask
