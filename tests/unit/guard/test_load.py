"""How much of an application is free, by its heartbeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.guard.load import FLOOR, FULL, Load, percent_free
from tasker_health.guard.memory import DRAINING
from tasker_health.guard.watch import SECOND

WARNING_SECONDS, PERIOD_SECONDS = 0.5, 0.25
LAGS = st.integers(-SECOND, 3600 * SECOND)


@pytest.fixture
def load(rooms):
    """The load that these rooms see, and what it tells after some seconds."""
    load = Load(rooms.watch, PERIOD_SECONDS, WARNING_SECONDS)

    def told(seconds=0.0):
        rooms.look(seconds)
        load.look(int(rooms.now * SECOND))
        return load.percent_free

    return told


@given(LAGS, LAGS, st.integers(1, 10 * SECOND))
def test_more_lag_is_never_more_free(one, other, warning):
    """It falls with lag, stays within its bounds, and is whole without lag and at its floor from the warning on."""
    less, more = sorted((one, other))
    assert FLOOR <= percent_free(more, warning) <= percent_free(less, warning) <= FULL
    assert percent_free(0, warning) == FULL
    assert percent_free(warning, warning) == FLOOR


def test_half_the_warning_is_half_of_the_way(rooms, load):
    """The formula of the docs: 100 - 90 * lag / warning."""
    slot = rooms.memory.take()
    slot.beat(SECOND // 4)
    assert load() == 55


@given(st.lists(st.tuples(st.floats(0.001, 5), LAGS.filter(lambda lag: lag >= 0)), min_size=1, max_size=30))
def test_whatever_comes_it_stays_within_bounds(steps):
    """After any heartbeats at any times."""
    slot = _Slot()
    load = Load(_Watch(slot), PERIOD_SECONDS, WARNING_SECONDS)
    now = 0
    for seconds, lag in steps:
        now += int(seconds * SECOND)
        slot.beat_ns, slot.lag_ns = now, lag
        load.look(now)
        assert FLOOR <= load.percent_free <= FULL


def test_a_change_is_told_by_halves(rooms, load):
    """Every two seconds half of what is left of it, down and up again."""
    slot = rooms.memory.take()
    slot.beat()
    assert load() == 100
    told = []
    for lag in [SECOND, SECOND, 0, 0, 0, 0]:
        rooms.now += 2
        slot.beat(lag)
        told.append(load())
    assert told == [55, 32, 66, 83, 92, 96]


def test_a_loop_that_is_held_up_now_is_loaded_now(rooms, load):
    """A heartbeat that is overdue counts before it comes."""
    rooms.memory.take().beat()
    assert load() == 100
    assert load(PERIOD_SECONDS) == 100
    told = [load(0.25) for _ in range(8)]
    assert told == sorted(told, reverse=True)
    assert told[-1] < 60


def test_one_of_four_that_stalls_is_a_quarter(rooms, load):
    """The mean of the workers: one that stalls has nothing free, one that drains is not counted."""
    slots = [rooms.memory.take() for _ in range(4)]
    rooms.memory.take(DRAINING)
    rooms.look(31)
    for slot in slots[1:]:
        slot.beat()
    assert load() == 75


def test_a_guard_that_did_not_run_tells_of_no_load(rooms, load):
    """Heartbeats that nobody could see are not overdue."""
    rooms.memory.take().beat()
    assert load() == 100
    rooms.pause(100)
    assert load() == 100


def test_who_comes_after_all_have_left_begins_anew(rooms, load):
    """Nothing is remembered of those before."""
    slot = rooms.memory.take()
    slot.beat(SECOND)
    assert load() == FLOOR
    slot.give_back()
    load(1)
    rooms.memory.take().beat()
    assert load(0.1) == 100


class _Slot:
    """A heartbeat without memory."""

    flags = 0
    beat_ns = lag_ns = 0


class _Watch:
    """Somebody who serves."""

    since = 0

    def __init__(self, slot):
        self.slot = slot
        self.fresh = True
        self.workers = [self]
