"""Which ids are settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasker_health.sources.tasker.marks import Ids, Marks


def ids(number):
    """Return the same id of each table."""
    return Ids(number, number, number, number)


def noted(*looks):
    """Return what is settled after each of *looks*: the highest id, and who writes."""
    marks, found = Marks(), []
    for highest, *writers in looks:
        marks.note(ids(highest), frozenset(writers))
        found.append(marks.settled and marks.settled.tasks)
    return found


def test_without_writers_everything_is_settled():
    """Whatever was handed out belongs to a transaction that has ended."""
    assert noted((5,), (9,)) == [5, 9]


def test_who_writes_holds_up_what_was_handed_out_before():
    """Until it has ended; one that came later holds up nothing of it."""
    assert noted((5, "a"), (6, "a", "b"), (7, "b"), (8, "c")) == [None, None, 5, 7]


def test_a_prepared_transaction_settles_nothing():
    """It goes on under another name: that the old one is gone proves nothing."""
    assert noted((5, "3/7"), (6, "-1/900"), (7, "4/1"), (8, "4/2")) == [None, None, 6, 7]


def test_a_long_transaction_does_not_make_it_forget_or_grow():
    """However many looks it lasts, what came before it stays settled, and what comes after it settles at once."""
    marks = Marks()
    marks.note(ids(1), frozenset())
    for number in range(2, 1000):
        marks.note(ids(number), frozenset({"long", f"short/{number}"}))
        assert marks.settled == ids(1)
    assert len(marks._waiting) <= 33
    marks.note(ids(1000), frozenset())
    assert marks.settled == ids(1000)


@given(st.data())
def test_nothing_is_settled_while_its_transaction_writes(data):
    """Of any order in which transactions take ids and end: a settled id belongs to none that still writes."""
    marks, handed_out, open_transactions = Marks(), 0, {}
    for number in range(data.draw(st.integers(1, 40))):
        step = data.draw(st.sampled_from(("begin", "take", "end", "look")))
        if step == "begin":
            open_transactions[f"3/{number}"] = []
        elif step == "take" and open_transactions:
            handed_out += 1
            open_transactions[data.draw(st.sampled_from(sorted(open_transactions)))].append(handed_out)
        elif step == "end" and open_transactions:
            del open_transactions[data.draw(st.sampled_from(sorted(open_transactions)))]
        elif step == "look":
            marks.note(ids(handed_out), frozenset(open_transactions))
            held = [each for taken in open_transactions.values() for each in taken]
            assert all(each > (marks.settled or ids(0)).tasks for each in held)
