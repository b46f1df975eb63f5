"""The slots of the last hour: bounded, and the worst wins."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import settings_of
from tasker_health.cache import MOST_BYTES
from tasker_health.history.fleet import MOST_REPLICAS, Told
from tasker_health.history.slots import CHECK_STATUSES, FIGURES, MOST_CELLS, MOST_COUNT, MOST_MS, Slots
from tasker_health.history.view import view
from tasker_health.model import CheckResult, CheckStatus

NAMES = st.sampled_from("abcde")
SEEN = st.tuples(st.integers(0, 25), NAMES, st.sampled_from(CHECK_STATUSES), st.integers(0, 900) | st.none())


def result_of(status, milliseconds=None):
    """Return what a check found."""
    more = {} if milliseconds is None else {"response_time_ms": milliseconds}
    return CheckResult(status=status, **more)


def shown(slots, last):
    """Return what is told of *slots*."""
    return view(slots, last, ends_at=0, is_shared=False, replicas=1)


def see(slots, seen):
    """Have *slots* see each of *seen*, and return them."""
    for number, name, status, milliseconds in seen:
        slots.see_checks(number, {name: result_of(status, milliseconds)})
    return slots


def recounted(seen, count, last):
    """Return what must be told of *seen*, counted by hand."""
    statuses, times = {}, {}
    for number, name, status, milliseconds in seen:
        if last - count < number <= last:
            rank = CHECK_STATUSES.index(status)
            statuses[name, number] = max(rank, statuses.get((name, number), 0))
            if milliseconds is not None:
                times[name, number] = max(milliseconds, times.get((name, number), 0))
    told = {}
    for name in {name for name, _ in statuses}:
        numbers = range(last - count + 1, last + 1)
        ranks = [statuses.get((name, number)) for number in numbers]
        told[name] = (
            [None if rank is None else CHECK_STATUSES[rank] for rank in ranks],
            [times.get((name, number)) for number in numbers],
        )
    return told


@given(st.lists(SEEN, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_worst_of_each_slot_is_told(seen):
    """Whatever was seen in whatever order: each slot has the worst and the longest, and an hour is an hour."""
    seen = sorted(seen, key=lambda each: each[0])
    slots = see(Slots(600, 10), seen)
    history = shown(slots, 25)
    assert {name: (each.status, each.response_time_ms) for name, each in history.checks.items()} == recounted(
        seen, 6, 25
    )
    assert len(slots.by_number) <= 6
    assert {len(series) for series in [history.status, history.failure_ratio, *history.tasks.values()]} == {6}


@given(st.lists(SEEN, max_size=40), st.lists(SEEN, max_size=40))
@settings(max_examples=60, deadline=None)
def test_two_that_are_put_together_tell_what_one_would_who_saw_all(ours, theirs):
    """In either order, with the checks in whatever order, and twice as well as once."""
    ours, theirs = ([each for each in seen if each[0] > 19] for seen in (ours, theirs))
    both = recounted([*ours, *theirs], 6, 25)
    for first, second in ((ours, theirs), (theirs, ours)):
        mine = see(Slots(600, 10), first)
        for _ in range(2):
            others = see(Slots(600, 10), second)
            mine.arrange(others.names)
            for slot in others.by_number.values():
                mine.merge(slot)
            history = shown(mine, 25)
            assert {name: (each.status, each.response_time_ms) for name, each in history.checks.items()} == both


def test_so_many_checks_are_remembered_and_one_that_is_gone_leaves_its_place():
    """A check that nobody has seen for an hour is forgotten for a new one; before, the new one is not remembered."""
    slots = Slots(600, 2)
    ok = result_of(CheckStatus.OK)
    slots.see_checks(10, {"old": ok, "other": ok})
    slots.see_checks(11, {"other": ok, "new": ok})
    assert set(shown(slots, 11).checks) == {"old", "other"}
    slots.see_checks(16, {"other": ok, "new": result_of(CheckStatus.ERROR)})
    checks = shown(slots, 16).checks
    assert set(checks) == {"other", "new"}
    assert checks["new"].status[-1] is CheckStatus.ERROR
    assert checks["other"].status == [CheckStatus.OK, None, None, None, None, CheckStatus.OK]


def test_an_hour_of_whatever_length_of_slots_fits_into_the_cache():
    """With every figure as long as it can be, as many checks as are allowed, and as many replicas."""
    for seconds in (5, 30, 600):
        slots = Slots(seconds, settings_of(history={"most_checks": 200}).history.most_checks)
        names = [f"{number:a>63}" for number in range(200)]
        for number in range(slots.count + 3):
            slots.see_figures(number, number + 0.123456789, [MOST_COUNT] * len(FIGURES), 0.1234)
            slots.see_checks(number, dict.fromkeys(names, result_of(CheckStatus.ERROR, MOST_MS * 10)))
        assert len(slots.names) * len(slots.by_number) <= MOST_CELLS
        replicas = {f"{number:016x}": 10**9 for number in range(MOST_REPLICAS)}
        told = Told(0.123456789, replicas, slots.names, list(slots.by_number.values()))
        assert len(msgspec.json.encode(told)) < MOST_BYTES * 0.7


def test_what_was_deleted_or_read_once_tells_no_rate():
    """The difference of two readings a minute; none where a total fell, is not known, or is of the same reading."""

    def rates(*readings):
        slots = Slots(30, 10)
        for number, (read_at, completed, failed) in enumerate(readings):
            slots.see_figures(number, read_at, [0, 0, completed, failed, 0, 0, 0, 0, 0], None)
        history = shown(slots, len(readings) - 1)
        count = len(readings)
        return list(zip(history.completed_per_minute[-count:], history.failed_per_minute[-count:], strict=True))

    unknown = (None, None)
    assert rates((20, 100, 5), (40, 110, 6)) == [unknown, (30.0, 3.0)]
    assert rates((20, 100, 5), (50, 90, 6), (80, 95, 6)) == [unknown, unknown, (10.0, 0.0)]
    assert rates((20, 100, 5), (21, 100, 5), (80, 160, 5)) == [unknown, unknown, (61.02, 0.0)]
    assert rates((20, 100, None), (50, 130, 7)) == [unknown, (60.0, None)]


def test_the_newest_reading_is_told_whoever_has_it():
    """Figures and ratio of one reading stay together; of two that were read at one moment, all have what was there."""
    for ours, theirs, told in ((10.0, 20.0, 2), (20.0, 10.0, 1), (10.0, 10.0, 2)):
        mine, others = Slots(30, 10), Slots(30, 10)
        mine.see_figures(5, ours, [1] * len(FIGURES), 0.1)
        others.see_figures(5, theirs, [2] * len(FIGURES), 0.2)
        mine.merge(others.by_number[5])
        history = shown(mine, 5)
        assert {series[-1] for series in history.tasks.values()} == {told}
        assert history.failure_ratio[-1] == told / 10
