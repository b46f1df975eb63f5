"""What heartbeats cost: a thousand workers read at once, one beat written, and for how long the event loop stands."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from bench.machine import CLIENT_CORE, on_core
from bench.postgresql import TESTS
from bench.table import Goal, Table

ROUNDS, WORKERS, TASKS = 60, 1000, 2
MOST_READ_MS = 5.0
MOST_CORE_PERCENT = 0.2
PERIOD_SECONDS = 5.0


def measure(rounds: int | None) -> Table:
    """Return what each store takes, over *rounds*."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    with on_core(CLIENT_CORE):
        return asyncio.run(_measure(rounds or ROUNDS))


async def _measure(rounds: int) -> Table:
    from contract.ledger_backend import SqliteBackend, mariadb, opened, postgresql, redis, valkey

    table = Table(
        f"Workers: {WORKERS:,} heartbeats read, and one written",
        ["store", "read p50 ms", "p99", "loop stands p50 ms", "write p50 ms", "p99", "core a worker %"],
        notes=[
            f"{rounds} rounds; each worker names {TASKS} tasks that it runs. Reading is asking, judging nothing.",
            "The loop stands: the longest time within one reading in which nothing else could run.",
            f"A core: processor time of a worker that beats each {PERIOD_SECONDS:g} s, without the server's.",
        ],
    )
    for name, made in {
        "PostgreSQL": postgresql,
        "MariaDB": mariadb,
        "SQLite": SqliteBackend,
        "Redis": redis,
        "Valkey": valkey,
    }.items():
        async with AsyncExitStack() as stack:
            backend = made()
            stack.callback(backend.end)
            ledger = await stack.enter_async_context(opened(backend))
            for number in range(WORKERS):
                await ledger.beat(_beat(number))
            await _row(table, name, ledger, rounds)
    return table


async def _row(table: Table, name: str, ledger: Any, rounds: int) -> None:
    async def read() -> None:
        assert len(await ledger.read()) == WORKERS

    async def write() -> None:
        await ledger.beat(_beat(7))

    await read()
    stands = [await _stands(read) for _ in range(rounds)]
    reads = [await _took(read) for _ in range(rounds)]
    began = time.process_time()
    writes = [await _took(write) for _ in range(5 * rounds)]
    percent = (time.process_time() - began) / len(writes) / PERIOD_SECONDS * 100
    table.rows.append((name, *_pair(reads), f"{statistics.median(stands):.1f}", *_pair(writes), f"{percent:.3f}"))
    if name == "PostgreSQL":
        table.goals.append(Goal(f"{name}, reading, p50", statistics.median(reads), MOST_READ_MS, " ms"))
        table.goals.append(Goal(f"{name}, writing, of a core", percent, MOST_CORE_PERCENT, " %"))


def _pair(took: list[float]) -> tuple[str, str]:
    return f"{statistics.median(took):.1f}", f"{statistics.quantiles(took, n=100)[98]:.1f}"


async def _took(question: Callable[[], Awaitable[None]]) -> float:
    """Return how many milliseconds *question* takes."""
    began = time.perf_counter()
    await question()
    return (time.perf_counter() - began) * 1000


async def _stands(question: Callable[[], Awaitable[None]]) -> float:
    """Return the longest time in milliseconds between two turns of the loop while *question* is asked."""
    longest, is_over = 0.0, asyncio.Event()

    async def turn() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not is_over.is_set():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    await question()
    is_over.set()
    await turning
    return longest * 1000


def _beat(number: int) -> Any:
    from tasker_health.workers import Beat, RunningTask

    tasks = tuple(RunningTask(f"7f3a-{number}-{n}", "shop.orders.charge", "orders", 12.5) for n in range(TASKS))
    return Beat(
        worker_id=f"celery@shop-worker-{number}.cluster.local",
        engine="celery",
        host=f"shop-worker-{number}",
        pid=7,
        version="2026.11.24",
        queues=("orders", "mail"),
        running=tasks,
        running_count=TASKS,
        done=123_456,
        period_seconds=PERIOD_SECONDS,
        up_seconds=86_400.5,
    )
