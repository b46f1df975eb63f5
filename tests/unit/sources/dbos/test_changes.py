"""When it shows that tasks were inserted which nobody sees."""

from __future__ import annotations

import pytest

from tasker_health.sources.dbos.changes import Changes


def _after(balances: list[int], *, every_seconds: float = 1) -> list[bool]:
    changes = Changes(seen="as it was", now_seconds=0)
    return [changes.unseen(balance, number * every_seconds) for number, balance in enumerate(balances)]


def test_statistics_that_come_late_are_no_sign():
    """Tasks are seen before the server has counted them: the balance rises, and falls back to where it was."""
    assert not any(_after([0, 5, 0, 7, 0] * 20))


@pytest.mark.parametrize("lost", [1, 500])
def test_a_balance_that_stays_below_what_it_was_is_a_sign_within_the_lag_of_statistics(lost: int):
    """A task that is inserted and not seen makes it less for good."""
    told = _after([3] * 40 + [3 - lost] * 20)
    assert not any(told[:45])
    assert told[-1]


def test_nothing_is_told_while_it_learns_what_the_balance_is():
    """Statistics of what was counted may still be on their way then."""
    assert not any(_after([10] * 10 + [0] * 40))
