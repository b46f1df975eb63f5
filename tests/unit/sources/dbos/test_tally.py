"""The tally of DBOS' tasks: what is folded in, and what it shows when it cannot be right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasker_health.errors import SourceFault
from tasker_health.sources.dbos.tables import Keys
from tasker_health.sources.dbos.tally import Moves, Tally
from tasker_health.sources.window import Ended

LOW = Keys(100, 10, 20)


def _row(kind: str, **columns: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{"kind": kind, "bucket": 5, "status": None, "number": 1, "timed": 0, "total_ms": 0, **columns}
    )


def _moves(*rows: SimpleNamespace) -> Moves:
    moves = Moves()
    for row in rows:
        moves.take(row)
    return moves


def test_moves_add_up_what_ended_by_state_and_bucket():
    """Failures have no duration; a cancelled task counts in its state and in no window."""
    moves = _moves(
        _row("new", number=4),
        _row("ended", status="SUCCESS", number=2, timed=1, total_ms=300),
        _row("ended", status="ERROR"),
        _row("ended", status="CANCELLED"),
        _row("step", number=3, timed=3, total_ms=90),
    )
    assert moves.tasks == 4
    assert moves.ended == {"SUCCESS": 2, "ERROR": 1, "CANCELLED": 1}
    assert moves.buckets == {5: Ended(completed=2, failed=1, timed_tasks=1, task_ms=300, timed_steps=3, step_ms=90)}


def test_a_tally_is_balanced_when_each_task_is_in_one_state():
    """One that came to life again is in two, one whose creation lies long back in one more than there are tasks."""
    tally = Tally(LOW, 3_600_000)
    tally.fold(LOW, Keys(200, 20, 30), _moves(_row("new", number=2), _row("ended", status="CANCELLED")))
    tally.alive["ENQUEUED"] = 1
    assert tally.balanced
    assert tally.states == {"CANCELLED": 1, "ENQUEUED": 1}
    tally.alive["ENQUEUED"] = 2
    assert not tally.balanced


def test_what_another_poll_has_folded_is_not_folded_again():
    """A poll that was given up and ended all the same leaves the tally to the one that came after it."""
    tally = Tally(LOW, 3_600_000)
    tally.fold(LOW, Keys(200, 20, 30), _moves(_row("new")))
    with pytest.raises(SourceFault):
        tally.fold(LOW, Keys(300, 30, 40), _moves(_row("new")))
    assert tally.tasks == 1


@pytest.mark.parametrize(("window_ms", "width_ms"), [(10_000, 1000), (3_600_000, 1000), (7_200_001, 2001)])
def test_a_window_begins_with_a_bucket(window_ms: int, width_ms: int):
    """Buckets are whole milliseconds, and no event of the window is left out; at most two too many are in."""
    tally = Tally(LOW, window_ms)
    now = 1_795_415_595_123
    assert tally.width_ms == width_ms
    assert now - window_ms - 2 * width_ms <= tally.since(now) <= now - window_ms
    assert tally.since(now) % width_ms == 0


def test_what_goes_on_apart_changes_nothing():
    """A verification counts on a copy."""
    tally = Tally(LOW, 3_600_000)
    tally.running["a"] = 5
    apart = tally.apart()
    apart.fold(LOW, Keys(200, 20, 30), _moves(_row("new"), _row("ended", status="SUCCESS")))
    apart.touch_running(["a"], [SimpleNamespace(workflow_uuid="b", last=7)])
    apart.alive["PENDING"] += 1
    assert (tally.low, tally.tasks, tally.running, dict(tally.states)) == (LOW, 0, {"a": 5}, {})
    assert apart.stuck(8) == {"b"}
    assert tally.window.buckets == {}
