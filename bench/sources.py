"""What an uncached status of the source `tasker` costs over histories of several sizes, beside one full query."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import tasker_query, tasker_work
from bench.bulk_server import tasker
from bench.chart import cost_against_size
from bench.table import Goal, Table
from bench.tasker_reader import FIRST_SECONDS, first_facts, reading, source
from tasker_health.health import Health
from tasker_health.model import SystemStatus
from tasker_health.settings import HealthSettings, Settings

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
CHANGES = (1_000, 10_000)
STATUS_MS, TIMES_SMALLEST, TIMES_FASTER, CHANGES_MS, MEMORY_MIB = 5, 1.5, 500, 100, 50
ROUNDS, IN_A_ROUND, CHANGE_ROUNDS = 7, 10, 5

_COLUMNS = (
    *("tasks", "status ms", "p95", "1,000 new", "10,000 new", "read() ms", "1,000 new", "10,000 new"),
    *("full query ms", "times status", "counts alone ms", "tally MiB", "first count s", "restart s"),
)


@dataclass
class Measured:
    """What was measured at one size.

    Attributes:
        tasks: How many there were at the beginning.
        load_seconds, gibibytes: What their tables took to make, and on disk.
        times: Milliseconds of each round, by what was asked and how many transitions were new.
        memory_mebibytes: What a process grew by that keeps the tally.
        first_seconds, restart_seconds: Until the first facts, by a full count and from a checkpoint.
    """

    tasks: int
    load_seconds: float
    gibibytes: float
    times: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    memory_mebibytes: float = 0
    first_seconds: float = 0
    restart_seconds: float = 0

    def note(self, asked: str, new: int, milliseconds: float) -> None:
        """Keep one figure."""
        self.times.setdefault((asked, new), []).append(milliseconds)

    def median(self, asked: str, new: int = 0) -> float:
        """Middle of all rounds, milliseconds."""
        return statistics.median(self.times[asked, new])

    @property
    def times_faster(self) -> float:
        """How many statuses with nothing new fit into one full query."""
        return self.median("full") / self.median("status")

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        nothing_new = sorted(self.times["status", 0])
        p95 = nothing_new[round(0.95 * (len(nothing_new) - 1))]
        return (
            *(f"{self.tasks:,}", f"{self.median('status'):.2f}", f"{p95:.2f}"),
            *(f"{self.median('status', new):.1f}" for new in CHANGES),
            *(f"{self.median('read'):.2f}", *(f"{self.median('read', new):.1f}" for new in CHANGES)),
            *(f"{self.median('full'):,.0f}", f"{self.times_faster:,.0f}", f"{self.median('counts'):,.0f}"),
            *(f"{self.memory_mebibytes:.1f}", f"{self.first_seconds:.2f}", f"{self.restart_seconds:.2f}"),
        )


def measure(rounds: int | None, sizes: Sequence[int] = SIZES) -> Table:
    """Return what a status costs over histories of the *sizes*, each over so many *rounds*."""
    rounds = rounds or ROUNDS
    table = Table("The source tasker: an uncached status against the size of the history", _COLUMNS)
    everything = []
    for size in sizes:
        measured = _at(size, rounds)
        everything.append(measured)
        table.rows.append(measured.cells())
        print(*table.rows[-1], f"loaded in {measured.load_seconds:.0f} s", sep=" | ", file=sys.stderr, flush=True)
    table.goals = _goals({measured.tasks: measured for measured in everything})
    table.notes = _notes(rounds, everything)
    if len(everything) > 1:
        table.pictures["cost-against-size.svg"] = _picture(everything)
    return table


def _at(size: int, rounds: int) -> Measured:
    import psycopg

    with tasker(size) as (_, url, load_seconds), psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT pg_database_size(current_database()) / 1024.0 ^ 3").fetchone()
        measured = Measured(size, load_seconds, float(found[0]) if found else 0)
        tasker_work.prepare(connection)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = str(Path(folder) / "tasker.checkpoint")
            with reading(url, checkpoint_file=checkpoint) as reader:
                measured.memory_mebibytes, measured.first_seconds = reader.first["mebibytes"], reader.first["seconds"]
            with reading(url, checkpoint_file=checkpoint) as reader:
                measured.restart_seconds = reader.first["seconds"]
        asyncio.run(_ask(url, connection, measured, rounds))
    return measured


async def _ask(url: str, connection: Any, measured: Measured, rounds: int) -> None:
    """Ask in rounds: first with nothing new, then, which makes the history longer, after new transitions."""
    own, health = source(url), _health(url)
    questions = {"read": partial(own.read, 60), "status": partial(_status, health)}
    contenders = {"full": tasker_query.full, "counts": tasker_query.counts}
    try:
        facts = await first_facts(own.read)
        await first_facts(lambda _: _status(health))
        _compare(facts, await asyncio.to_thread(tasker_query.full, connection))
        await asyncio.to_thread(tasker_query.counts, connection)
        for _ in range(rounds):
            for _ in range(IN_A_ROUND):
                await _timed(measured, questions, 0)
            for name, query in contenders.items():
                began = time.perf_counter()
                await asyncio.to_thread(query, connection)
                measured.note(name, 0, (time.perf_counter() - began) * 1000)
        for _ in range(min(rounds, CHANGE_ROUNDS)):
            for new in CHANGES:
                await asyncio.to_thread(tasker_work.work, connection, new)
                questions = dict(reversed(questions.items()))  # who comes first reads rows that nobody has read yet
                await _timed(measured, questions, new)
                for ask in questions.values():
                    await ask()  # what was still open is settled, and taken in for good
        _compare(await own.read(60), await asyncio.to_thread(tasker_query.full, connection))
    finally:
        await own.close()
        await health.stop()


async def _timed(measured: Measured, questions: Mapping[str, Callable[[], Awaitable[Any]]], new: int) -> None:
    for name, ask in questions.items():
        began = time.perf_counter()
        await ask()
        measured.note(name, new, (time.perf_counter() - began) * 1000)


def _health(url: str) -> Health:
    patience = HealthSettings(cache_duration_seconds=0, status_timeout_seconds=FIRST_SECONDS)
    health = Health(Settings(health=patience))
    health.add_source(source(url))
    return health


async def _status(health: Health) -> None:
    report = await health.status()
    if report.cache_info.cached or report.status is SystemStatus.UNHEALTHY:
        raise AssertionError(f"not an uncached status: {report}")


def _compare(facts: Any, found: dict[str, Any]) -> None:
    """Hold the source's figures against those of the full query, but for those that change with time alone."""
    if facts.method != "tally":
        raise AssertionError(f"the source counts everything: {facts}")
    own = {name: getattr(facts, name) for name in ("tasks_by_state", "steps_by_state", "retry_queue", "blocked")}
    other = {name: found[name] for name in own}
    if own != other:
        raise AssertionError(f"the source says {own}, one full query {other}")


def _goals(by_size: dict[int, Measured]) -> list[Goal]:
    smallest, million, largest = by_size.get(SIZES[0]), by_size.get(1_000_000), by_size.get(SIZES[-1])
    slowest = max((each.median("status") for each in by_size.values()), default=None)
    most = max((each.median("status", CHANGES[-1]) for each in by_size.values()), default=None)
    times = largest.median("status") / smallest.median("status") if largest and smallest else None
    share = 1000 * million.median("status") / million.median("full") if million else None
    return [
        Goal("status with nothing new, median at every size", slowest, STATUS_MS, " ms"),
        Goal(f"status at {SIZES[-1]:,} tasks, times that at {SIZES[0]:,}", times, TIMES_SMALLEST),
        Goal(
            f"status at 1,000,000 tasks, thousandths of the full query ({TIMES_FASTER} times faster)",
            *(share, 1000 / TIMES_FASTER),
        ),
        Goal(f"status after {CHANGES[-1]:,} new transitions, median at every size", most, CHANGES_MS, " ms"),
        Goal(
            f"memory of the tally at {SIZES[-1]:,} tasks",
            *(largest.memory_mebibytes if largest else None, MEMORY_MIB, " MiB"),
        ),
    ]


def _notes(rounds: int, everything: Sequence[Measured]) -> list[str]:
    made = ", ".join(f"{each.load_seconds:.0f} s and {each.gibibytes:.1f} GiB" for each in everything)
    return [
        "Status: the whole `health.status()` with `health.cache_duration_seconds` 0; read(): its part in the source.",
        f"Nothing new: {rounds} rounds of {IN_A_ROUND} of each and one of each query, in turn, in one process.",
        f"New: committed one by one since the last reading, {min(rounds, CHANGE_ROUNDS)} rounds, the first reading.",
        "Full query: the same figures by one query over everything; counts alone: what the original's query counts.",
        "PostgreSQL with its default settings but without waiting for the disk (fsync off), warm.",
        "Tally: what a process grows by (resident) with the source and 21 readings, its own connection included.",
        "First count: in a new process, until the first facts; restart: the same from a checkpoint.",
        f"To make the tables took {made}.",
    ]


def _picture(everything: Sequence[Measured]) -> bytes:
    def line(asked: str, new: int = 0) -> list[tuple[float, float]]:
        return [(each.tasks, each.median(asked, new)) for each in everything]

    lines = {
        "one full query": line("full"),
        "status, nothing new": line("status"),
        **{f"status, {new:,} new transitions": line("status", new) for new in CHANGES},
    }
    return cost_against_size(lines, goal_ms=STATUS_MS)
