"""The fault matrix with its figures: the rows that `tests/faults/test_matrix.py` plays, with many more probes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.postgresql import TESTS
from bench.table import Goal, Table

if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))

from faults.fault import FAULTS
from faults.row import AT_ONCE, Outcome, play, quantile
from faults.scene import Scene

PROBES = 10_000
LIVE_MS, TIMES_IDLE, BACK_SECONDS = 10, 2, 2
READY_MS = 800 + 50
_COLUMNS = (
    *("fault", "/live p99 ms", "idle p99 ms", "times idle", "wrong answers"),
    *("/ready of the guard, slowest ms", "of the application", "back s", "leaks", "SIGTERM s"),
)


def measure(probes: int | None) -> Table:
    """Return the matrix, after so many *probes* of each kind in each row."""
    probes = probes or PROBES
    table = Table(f"Faults: {probes:,} probes of each kind in each row", _COLUMNS, notes=_notes(probes))
    outcomes = []
    with scene() as shared:
        for fault in FAULTS:
            outcome = _played(shared, fault, probes)
            if isinstance(outcome, Outcome):
                outcomes.append(outcome)
                table.rows.append(_cells(outcome))
            else:
                table.rows.append((fault.name, *["not measured"] * (len(_COLUMNS) - 1)))
                table.notes.append(f"{fault.name}: {outcome}")
            print(*table.rows[-1], sep=" | ", file=sys.stderr, flush=True)
    table.goals = _goals(outcomes)
    return table


@contextmanager
def scene() -> Iterator[Scene]:
    """Keep a scene for as long as the block takes."""
    shared = Scene()
    try:
        yield shared
    finally:
        shared.close()


def _played(shared: Scene, fault: Any, probes: int) -> Outcome | str:
    try:
        return play(shared, fault, probes=probes, idle_probes=probes)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a wait that fails as in a test is not of Exception
        return f"{type(error).__name__}, {str(error).splitlines()[0][:200]}"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    live, idle = _p99(outcome.live), _p99(outcome.idle)
    return (
        outcome.fault.name,
        *(f"{live:.2f}", f"{idle:.2f}", f"{live / idle:.2f}", str(len(outcome.wrong))),
        f"{_slowest(outcome, 'guard'):.0f}",
        f"{_slowest(outcome, 'application'):.0f}" if "application" in outcome.ready else "",
        f"{outcome.back_seconds:.2f}",
        ", ".join(f"{name} {by:+d}" for name, by in outcome.leaks.items()) or "0",
        "did not end" if outcome.end_seconds is None else f"{outcome.end_seconds:.1f}",
    )


def _goals(outcomes: list[Outcome]) -> list[Goal]:
    """Hold the worst row of each figure against its goal."""

    def worst(name: str, figure: Callable[[Outcome], float], limit: float, unit: str = "") -> Goal:
        row = max(outcomes, key=figure, default=None)
        if row is None:
            return Goal(name, None, limit, unit)
        missed = sum(figure(each) > limit for each in outcomes)
        where = f"{missed} of {len(outcomes)} rows miss it, worst" if missed else "worst"
        return Goal(f"{name} ({where}: {row.fault.name})", figure(row), limit, unit)

    return [
        worst("/live p99", lambda each: _p99(each.live), LIVE_MS, " ms"),
        worst("/live p99, times idle", lambda each: _p99(each.live) / _p99(each.idle), TIMES_IDLE),
        worst("wrong answers", lambda each: len(each.wrong), 0),
        worst(f"/ready of the guard at {AT_ONCE} askers", lambda each: _slowest(each, "guard"), READY_MS, " ms"),
        worst(
            f"/ready of the application at {AT_ONCE} askers",
            lambda each: _slowest(each, "application"),
            *(READY_MS, " ms"),
        ),
        worst("back to ready", lambda each: each.back_seconds, BACK_SECONDS, " s"),
        worst("leaks", lambda each: len(each.leaks), 0),
    ]


def _p99(probes: Any) -> float:
    return quantile(probes, 0.99)


def _slowest(outcome: Outcome, asked: str) -> float:
    return quantile(outcome.ready.get(asked, []), 1) if outcome.ready.get(asked) else -math.inf


def _notes(probes: int) -> list[str]:
    return [
        f"{probes:,} probes of /live at the guard when all is idle and under the fault, each over a new connection.",
        f"Then {probes:,} of /ready at {AT_ONCE} at once at each port, over 2 s at least; /live goes on meanwhile.",
        "Wrong: no answer, or another code or reason than the fault calls for.",
        "A loop is blocked for 9 s: /live must be 200 up to `health.liveness_stall_seconds` (5) and 503 from 6 s on.",
        "Back: from the end of the fault until the guard and the application both answer ready, without a restart.",
        "Leaks: threads, descriptors (application and guard) and connections (PostgreSQL's count) off by more than 1.",
        "SIGTERM: from the signal, under the fault begun again, to the end of the process; a block is one of 3 s then.",
        "No figure of the application: its event loop or interpreter is what the fault takes away; ask the guard.",
    ]
