"""The circuit breaker: when a cache is asked, by how many, and how soon again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasker_health.cache.breaker import OPEN_SECONDS, Breaker

PROMISED_SECONDS = 2.0
"""A cache that is back is used again within this time."""

DEADLINE_SECONDS = 0.3
"""How long a question takes that is not answered, by default."""


def opened(now: float = 100.0) -> Breaker:
    """Return a breaker that has just seen a failure."""
    breaker = Breaker()
    assert breaker.allows(now)
    breaker.failed(now, on_trial=False)
    return breaker


def test_while_all_is_well_everybody_asks():
    """However many at once."""
    breaker = Breaker()
    assert all(breaker.allows(now) for now in (0.0, 0.0, 1.0, 1e9))
    assert not breaker.is_open


def test_one_failure_opens_it_for_a_while():
    """Nobody asks until that is over, and then one."""
    breaker = opened()
    assert breaker.is_open
    assert not breaker.allows(100.0)
    assert not breaker.allows(100 + OPEN_SECONDS - 0.001)
    assert breaker.allows(100 + OPEN_SECONDS)
    assert not any(breaker.allows(now) for now in (100.5, 101, 200, 1e9)), "one trial at a time, however long it takes"


def test_a_trial_that_is_answered_closes_it():
    """For everybody, and the next failure is a first one again."""
    breaker = opened()
    for now in (101.0, 103.0, 105.0):
        assert breaker.allows(now)
        breaker.failed(now, on_trial=True)
    assert breaker.allows(107.0)
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.allows(107.0)
    assert breaker.allows(107.0)
    breaker.failed(107.0, on_trial=False)
    assert breaker.allows(107 + OPEN_SECONDS)


def test_a_trial_that_fails_opens_it_anew():
    """For as long as the first failure did, however many of them fail."""
    breaker, now = opened(), 100 + OPEN_SECONDS
    for _ in range(20):
        assert breaker.allows(now)
        breaker.failed(now, on_trial=True)
        assert not breaker.allows(now + OPEN_SECONDS - 0.001)
        now += OPEN_SECONDS
    assert breaker.allows(now)


def test_an_old_question_that_fails_during_a_trial_starts_no_second_one():
    """It was asked before the first failure, and has a long deadline."""
    breaker = opened()
    assert breaker.allows(101.0)
    breaker.failed(101.1, on_trial=False)
    assert not breaker.allows(110.0)
    breaker.failed(110.0, on_trial=True)
    assert breaker.allows(110 + OPEN_SECONDS)


def test_old_questions_that_fail_do_not_put_the_trial_off():
    """Twenty that end one after the other are one failure."""
    breaker = opened()
    for number in range(20):
        breaker.failed(100 + number / 50, on_trial=False)
    assert breaker.allows(100 + OPEN_SECONDS)


def test_a_trial_whose_asker_leaves_is_made_by_the_next_one():
    """At once: nothing was learnt from it."""
    breaker = opened()
    assert breaker.allows(101.0)
    breaker.left()
    assert breaker.allows(101.0)
    assert not breaker.allows(101.0)


@given(
    st.floats(0, 50),
    st.lists(st.floats(0, DEADLINE_SECONDS), min_size=200, max_size=200),
    st.floats(0.001, 0.25),
)
def test_a_cache_that_is_back_is_used_within_two_seconds(back_at: float, takes: list[float], every: float):
    """Whenever it comes back, however long its failures took, when it is asked as often as it may be."""
    breaker, now = Breaker(), 0.0
    trials = iter(takes)
    while True:
        on_trial = breaker.is_open
        if not breaker.allows(now):
            now += every
            continue
        if now >= back_at:
            break
        now += next(trials)
        breaker.failed(now, on_trial=on_trial)
    assert now - back_at <= PROMISED_SECONDS
