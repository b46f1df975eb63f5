"""How many workers are in which state, for the status."""

from __future__ import annotations

from collections import Counter

from msgspec import UNSET, UnsetType

from tasker_health.model import WorkerCounts, WorkerSummary
from tasker_health.workers import ENGINES, Workers, WorkerState

_OTHER = "other"
"""What a beat calls its engine is told only where it is one that is known: anybody may write there."""


def counts_of(workers: Workers | None) -> WorkerSummary | UnsetType | None:
    """Return how many there are, of all and of each engine; `None`: it cannot be known; unset: nobody ever beat."""
    if workers is None:
        return None
    if not workers.all:
        return UNSET
    states: dict[str, Counter[WorkerState]] = {}
    for each in workers.all:
        engine = each.beat.engine if each.beat.engine in ENGINES else _OTHER
        states.setdefault(engine, Counter())[each.state] += 1
    by_engine = {engine: _counts(states[engine]) for engine in sorted(states)}
    total: Counter[WorkerState] = sum(states.values(), Counter())
    return WorkerSummary(
        alive=total[WorkerState.ALIVE],
        stalled=total[WorkerState.STALLED],
        dead=total[WorkerState.DEAD],
        by_engine=by_engine,
    )


def _counts(states: Counter[WorkerState]) -> WorkerCounts:
    return WorkerCounts(
        alive=states[WorkerState.ALIVE], stalled=states[WorkerState.STALLED], dead=states[WorkerState.DEAD]
    )
