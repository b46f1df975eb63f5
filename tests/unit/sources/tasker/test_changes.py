"""What no transition tells."""

from __future__ import annotations

from tasker_health.model import Connections
from tasker_health.sources.tasker.changes import Changes
from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.relations import Look, Print, Statistics

SEEN = Print(server=1.0, files=((1, 1), (2, 2)), deleted=(0, 0))
HIGHEST = Ids(5, 5, 5, 5)


def look(now=0.0, *, seen=SEEN, highest=HIGHEST, balance=0, inserted=0, steps_updated=0, edges_changed=0):
    """Return a look."""
    counted = Statistics(balance, inserted, steps_updated, edges_changed)
    return Look(highest, frozenset(), seen, counted, is_standby=False, orderly=True, now=now, connections=Connections())


def suspicions(*looks):
    """Return whether each of *looks* is suspicious: its time, first transitions and rows, and what the server says."""
    changes = Changes(SEEN, HIGHEST)
    return [changes.suspicious(look(now, **said), firsts, rows) for now, firsts, rows, said in looks]


def test_what_is_replaced_or_deleted_is_seen_at_once():
    """Another server, another file, another count of deleted rows, a sequence that was set back: for good."""
    for seen in (SEEN._replace(server=2.0), SEEN._replace(files=((1, 9), (2, 2))), SEEN._replace(deleted=(0, 1))):
        assert Changes(SEEN, HIGHEST).replaced(look(seen=seen))
    changes = Changes(SEEN, HIGHEST)
    assert not changes.replaced(look(highest=Ids(9, 9, 9, 9)))
    assert changes.replaced(look(highest=Ids(9, 9, 9, 8)))
    assert changes.replaced(look(highest=Ids(9, 9, 9, 99)))


def test_attributes_are_looked_at_again_when_their_tables_were_changed():
    """The first time in any case; then after an update of steps or any change of edges."""
    changes = Changes(SEEN, HIGHEST)
    asked = [look(), look(), look(steps_updated=1), look(steps_updated=1), look(steps_updated=1, edges_changed=1)]
    assert [changes.attributes_changed(each) for each in asked] == [True, False, True, False, True]


def test_transitions_as_they_should_be_raise_no_suspicion():
    """A first one is an insertion, each further one an update too; statistics that come late do no harm."""
    assert (
        suspicions(
            (0, 0, 0, {}),
            (20, 10, 10, {}),  # ten first transitions, not reported yet
            (21, 10, 10, {"balance": -10, "inserted": 10}),
            (40, 10, 15, {"balance": -10, "inserted": 10}),
            (41, 10, 15, {"balance": -10, "inserted": 15}),
            (80, 10, 15, {"balance": -10, "inserted": 15}),
        )
        == [False] * 6
    )


def test_an_edit_in_place_is_suspicious_once_statistics_cannot_be_late_any_more():
    """More updates than insertions account for, for twelve seconds."""
    edited = {"balance": 1}
    assert suspicions((0, 0, 0, {}), (20, 0, 0, edited), (25, 0, 0, edited), (33, 0, 0, edited)) == [
        *[False, False, False, True]
    ]


def test_insertions_that_nobody_has_seen_are_suspicious():
    """Rows among the settled ids, or rolled back: once for each more, and not while old ones may be reported late."""
    assert suspicions(
        (0, 0, 0, {}),
        (5, 0, 0, {"inserted": 3}),
        (20, 0, 0, {"inserted": 3}),
        (30, 0, 0, {"inserted": 4}),
        (31, 0, 0, {"inserted": 4}),
    ) == [False, False, False, True, False]
