"""What our live route costs in each framework, against that framework's own bare route."""

from __future__ import annotations

from contextlib import ExitStack

from bench.framework_routes import AIOHTTP, FRAMEWORKS
from bench.serving import LIVE, Measured, measured, run
from bench.subject import Subject
from bench.table import Goal, Table

LIMIT = 0.9
"""How much of the bare route's rate ours has at least."""

ROUNDS, BURSTS = 9, 4


def measure(rounds: int | None) -> Table:
    """Return the rates of each framework, over *rounds* of each row."""
    rounds = rounds or ROUNDS
    table = Table(
        "Frameworks: our live route against the framework's own bare route",
        ["framework and route", "CPU µs a request", "times bare", "median of rounds", "requests/s"],
        notes=[
            "Bare: the framework's own cheapest route, as its documentation shows it: constant bytes, no middleware.",
            "Wrapped: `health.asgi(app)` or `health.wsgi(app)`. Own: the framework's idiom; in aiohttp both are one.",
            "Times bare: processor time of ours over that of the bare route. 0.9 of its rate is 1.11 times its cost.",
            f"The least of {rounds} interleaved rounds of {BURSTS} bursts; beside it the median of their own ratios.",
            "ASGI on uvicorn (httptools, uvloop), aiohttp on its own server and uvloop, WSGI on gunicorn (gthread).",
        ],
    )
    for framework in FRAMEWORKS:
        _add(table, framework, rounds)
    return table


def _add(table: Table, framework: str, rounds: int) -> None:
    with ExitStack() as stack:
        bare = _row(stack, framework, "bare", None)
        ours = [
            _row(stack, framework, form, bare) for form in (("own",) if framework == AIOHTTP else ("wrapped", "own"))
        ]
        run([bare, *ours], rounds, BURSTS)
    table.rows += [each.row() for each in (bare, *ours)]
    table.goals += [Goal(f"{each.name}, times bare", each.ratio, round(1 / LIMIT, 2)) for each in ours]


def _row(stack: ExitStack, framework: str, form: str, bare: Measured | None) -> Measured:
    path = "/bare" if form == "bare" else LIVE
    subject = Subject(f"{framework}, {form}", "bench.framework_routes", path, (framework, form))
    return measured(stack, f"{framework}, {form}", stack.enter_context(subject.running()), path, bare)
