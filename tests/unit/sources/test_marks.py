"""Up to which ids, or times, everything is settled."""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.sources.marks import Marks


class Pair(NamedTuple):
    """Two of them."""

    one: int
    other: int


def test_what_was_read_before_a_transaction_ended_is_settled_when_it_has():
    """A transaction that began before a mark may still write below it; one that began later may not."""
    marks: Marks[Pair] = Marks()
    marks.note(Pair(10, 1), frozenset({"a"}))
    assert marks.settled is None
    marks.note(Pair(20, 2), frozenset({"a", "b"}))
    assert marks.settled is None
    marks.note(Pair(30, 3), frozenset({"b"}))
    assert marks.settled == Pair(10, 1)
    marks.note(Pair(40, 4), frozenset({"c"}))
    assert marks.settled == Pair(30, 3)
    assert isinstance(marks.settled, Pair)


def test_nothing_is_settled_while_a_transaction_is_prepared():
    """It goes on under another name than the one it wrote under."""
    marks: Marks[Pair] = Marks()
    marks.note(Pair(10, 1), frozenset({"a"}))
    marks.note(Pair(20, 2), frozenset({"-1/7"}))
    assert marks.settled is None
    marks.note(Pair(30, 3), frozenset())
    assert marks.settled == Pair(30, 3)


def test_marks_that_wait_are_bounded():
    """A transaction that stays open for ever costs no memory; what settles later is right all the same."""
    marks: Marks[Pair] = Marks()
    for number in range(200):
        marks.note(Pair(number, number), frozenset({"open", str(number)}))
    assert len(marks._waiting) <= 32
    marks.note(Pair(500, 500), frozenset())
    assert marks.settled == Pair(500, 500)


def test_what_was_read_before_is_not_learnt_from_afterwards():
    """Two connections look; the list of writers of the one that looked first says nothing of what the other saw."""
    marks = Marks()
    marks.note((9,), frozenset({"late"}), 2.0)
    marks.note((5,), frozenset(), 1.0)
    assert marks.settled is None
    marks.note((9,), frozenset(), 3.0)
    assert marks.settled == (9,)
