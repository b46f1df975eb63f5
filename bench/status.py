"""How long an uncached status takes over a large history, asked over HTTP."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.history import History, Shape
from bench.postgresql import postgresql
from bench.subject import Subject, ask
from bench.table import Goal, Table

TASKS = 100_000
GOAL_MS = 100
HOUR_SECONDS = 3600
SHAPES = {"over 24 h": Shape(TASKS, 24 * HOUR_SECONDS), "all within the last hour": Shape(TASKS, HOUR_SECONDS - 100)}
_PATH = "/tasker/health/status"


@dataclass
class Measured:
    """One database, and how long its status took.

    Attributes:
        name: What the row is called.
        subject: The server that reads it.
        is_goal: Whether the goal is about it.
        milliseconds: Of each round.
    """

    name: str
    subject: Subject
    is_goal: bool
    milliseconds: list[float] = field(default_factory=list)

    def round(self) -> None:
        """Ask once."""
        began = time.perf_counter()
        answer = ask(self.subject.port, _PATH)
        self.milliseconds.append((time.perf_counter() - began) * 1000)
        report = json.loads(answer.partition(b"\r\n\r\n")[2])
        if report["cache_info"]["cached"] or report["system_health"]["total_tasks"] != TASKS:
            raise AssertionError(f"{self.name}: not an uncached status of {TASKS} tasks: {report}")

    @property
    def median(self) -> float:
        """Middle of all rounds, milliseconds."""
        return statistics.median(self.milliseconds)

    def cells(self) -> tuple[str, ...]:
        """Return median, p95 and minimum."""
        p95 = sorted(self.milliseconds)[round(0.95 * (len(self.milliseconds) - 1))]
        return f"{self.median:.1f}", f"{p95:.1f}", f"{min(self.milliseconds):.1f}"


def measure(rounds: int | None) -> Table:
    """Return how long an uncached status takes, over *rounds* for each row."""
    rounds = max(15, rounds or 0)
    table = Table(
        f"Uncached status of {TASKS:,} tasks with their steps",
        ["database and history", "steps", "median ms", "p95 ms", "least ms"],
        notes=[
            f"One request after the other over HTTP, `health.cache_duration_seconds` 0, {rounds} rounds, both in turn.",
            "Both databases are warm, PostgreSQL with its default settings. Averages are over the last hour.",
        ],
    )
    for shape in SHAPES:
        with _subjects(shape) as (all_measured, steps):
            for number in range(rounds + 1):
                for measured in all_measured[:: -1 if number % 2 else 1]:
                    measured.round()
        for measured in all_measured:
            del measured.milliseconds[0]  # it opened the connection
            table.rows.append((measured.name, f"{steps:,}", *measured.cells()))
            if measured.is_goal:
                table.goals.append(Goal(f"{measured.name}, median", measured.median, GOAL_MS, " ms"))
    return table


@contextmanager
def _subjects(name: str) -> Iterator[tuple[list[Measured], int]]:
    """Serve the history *name* from every database; also answer how many steps it has."""
    shape = SHAPES[name]
    history = History(shape, round(time.time() * 1000))
    with tempfile.TemporaryDirectory() as folder, postgresql() as server, ExitStack() as stack:
        urls = {"SQLite": f"sqlite:///{folder}/shop.db"}
        if server is not None:
            urls["PostgreSQL"] = server.new_database()
        measured = []
        for kind, url in urls.items():
            history.write(url)
            subject = Subject(kind, "tasker_health", "/tasker/health/live", ("serve",), _settings(url))
            is_goal = shape.seconds > HOUR_SECONDS
            measured.append(Measured(f"{kind}, {name}", stack.enter_context(subject.running()), is_goal))
        yield measured, len(history.steps)


def _settings(url: str) -> dict[str, str]:
    return {
        "TASKER_DATABASE__URL": url,
        "TASKER_SOURCES__SHOP__KIND": "dbos",
        "TASKER_HEALTH__CACHE_DURATION_SECONDS": "0",
        "TASKER_HEALTH__STATUS_TIMEOUT_SECONDS": "30",
    }
