"""Incidents: when they begin, go on and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tasker_health.alerts import Action, Observation, Severity
from tasker_health.alerts.incidents import MOST_DEDUP_KEY, Pace, dedup_key, figures_of, step

PACE = Pace(for_seconds=60, clear_seconds=300, update_seconds=900, gap_seconds=70)
WALL = 1_750_260_600.0


def seen(holds, severity=Severity.ERROR, **details):
    """Return what a rule says."""
    return Observation(rule="r", holds=holds, is_of_fleet=True, severity=severity, summary="it is so", details=details)


def run(looks, pace=PACE, before=None):
    """Return the moments and actions that come of *looks*, times and what is seen then, and the last state."""
    actions = []
    for now, each in looks:
        before, action = step(before, each, pace, now=now, wall=WALL + now)
        if action is not None:
            actions.append((now, action))
    return actions, before


def every(seconds, holds, until, began=0, **details):
    """Return looks in a period."""
    return [(float(now), seen(holds, **details)) for now in range(began, until, seconds)]


def test_it_begins_after_a_while_and_ends_after_a_while():
    """Sixty seconds of holding, three hundred of not holding."""
    actions, after = run([*every(15, True, 601), *every(15, False, 1201, 615)])
    assert actions == [(60.0, Action.TRIGGER), (915.0, Action.RESOLVE)]
    assert after is None


def test_without_a_while_it_is_told_at_once():
    """Both are 0: the first look begins it, and the first that does not hold ends it."""
    pace = PACE._replace(for_seconds=0, clear_seconds=0)
    actions, _ = run([(0.0, seen(True)), (15.0, seen(True)), (30.0, seen(False))], pace)
    assert actions == [(0.0, Action.TRIGGER), (30.0, Action.RESOLVE)]


def test_flapping_is_one_incident():
    """What stops and comes again within the time to clear has not ended."""
    looks = every(15, True, 100)
    for began in range(105, 3000, 300):
        looks += [*every(15, False, began + 150, began), *every(15, True, began + 300, began + 150)]
    actions, _ = run(looks)
    assert [action for _, action in actions] == [Action.TRIGGER]


def test_what_lies_between_two_far_looks_counts_not():
    """Nobody looked for ten minutes: that is neither ten minutes of holding nor of not holding."""
    actions, after = run([(0.0, seen(True)), (600.0, seen(True)), (645.0, seen(True))])
    assert actions == []
    assert after.for_seconds == 45
    _, opened = run(every(15, True, 100))
    actions, after = run([(105.0, seen(False)), (900.0, seen(False))], before=opened)
    assert actions == []
    assert after.for_seconds == 0


def test_what_is_not_known_changes_nothing():
    """Neither before it begins nor before it ends."""
    _, opened = run(every(15, True, 100))
    for before in (None, opened):
        actions, after = run(every(15, None, 5000, 200), before=before)
        assert actions == []
        assert after is before


def test_other_figures_are_told_rarely_and_the_same_ones_never():
    """Every update_seconds at most, and a time or a latency is no figure."""
    same = [(float(now), seen(True, failed=1, timestamp=str(now))) for now in range(0, 5000, 15)]
    assert [action for _, action in run(same)[0]] == [Action.TRIGGER]
    other = [(float(now), seen(True, health={"failed": now})) for now in range(0, 3000, 15)]
    assert [now for now, _ in run(other)[0]] == [60.0, 960.0, 1860.0, 2760.0]


def test_worse_is_told_at_once_and_better_is_not():
    """A graver severity in the next look; a milder one in its time."""
    _, opened = run(every(15, True, 100))
    actions, _ = run([(105.0, seen(True, Severity.CRITICAL)), (120.0, seen(True, Severity.WARNING))], before=opened)
    assert actions == [(105.0, Action.UPDATE)]


def test_it_does_not_end_before_all_were_heard():
    """Its time is over, but who is alone cannot know."""
    _, opened = run([*every(15, True, 100), *every(15, False, 700, 105)][:-20])
    opened = replace(opened, for_seconds=1000.0)
    assert step(opened, seen(False), PACE, now=700.0, wall=WALL, may_end=False).action is None
    assert step(opened, seen(False), PACE, now=700.0, wall=WALL).action is Action.RESOLVE


LOOKS = st.lists(
    st.tuples(
        st.floats(0, 400), st.sampled_from([True, False, None]), st.sampled_from(list(Severity)), st.integers(0, 2)
    ),
    max_size=60,
)


@given(looks=LOOKS, for_seconds=st.sampled_from([0, 60]), clear_seconds=st.sampled_from([0, 300]))
def test_beginnings_and_ends_alternate(looks, for_seconds, clear_seconds):
    """Whatever is seen: an update only while it is open, and nothing from what is not known."""
    pace = PACE._replace(for_seconds=for_seconds, clear_seconds=clear_seconds)
    now, before, is_open = 0.0, None, False
    for passed, holds, severity, figure in looks:
        now += passed
        before, action = step(before, seen(holds, severity, figure=figure), pace, now=now, wall=WALL + now)
        if holds is None:
            assert action is None
        if action is Action.TRIGGER:
            assert holds
            assert not is_open
            is_open = True
        elif action is Action.RESOLVE:
            assert holds is False
            assert is_open
            is_open = False
        elif action is Action.UPDATE:
            assert is_open
        assert is_open is (before is not None and before.is_open)


@given(service=st.text(min_size=1, max_size=300), rule=st.text(min_size=1, max_size=80))
def test_a_key_is_printable_and_bounded(service, rule):
    """Whatever the service is named; others of it have other keys."""
    try:
        service.encode()
        rule.encode()
    except UnicodeEncodeError:
        return
    key = dedup_key(service, rule)
    assert 1 <= len(key) <= MOST_DEDUP_KEY
    assert key.isascii()
    assert key.isprintable()
    assert key == dedup_key(service, rule)
    assert key != dedup_key(service + "x", rule)


def test_a_key_is_the_documented_one():
    """It stands in runbooks."""
    assert dedup_key("shop", "check:database") == "tasker-health/shop/check:database"


@pytest.mark.parametrize("details", [{}, {"a": {"timestamp": 1}}, {"a": {"age_seconds": 2, "timestamp": 3}, "b": [1]}])
def test_figures_do_not_depend_on_the_order(details):
    """The same details in another order are no news."""
    assert figures_of(details) == figures_of(dict(reversed(details.items())))
