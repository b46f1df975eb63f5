"""What has ended, kept by the minute and by the hour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasker_health.slo import FINE_MINUTES, HOUR_MINUTES
from tasker_health.slo.ledger import Ends, EndsLedger

DAY = 24 * HOUR_MINUTES
FIRST = 29_000_040  # the first minute of an hour
ENDS = st.tuples(st.integers(0, 50), st.integers(0, 50))
MINUTES = st.dictionaries(st.integers(0, 3 * DAY), ENDS, max_size=200)


def counted(minutes, window, now):
    """Return what ended in a window, counted from all that was ever told."""
    told = [(*ends, 1) for minute, ends in minutes.items() if now - window <= minute < now]
    return Ends(*map(sum, zip(*told, strict=True))) if told else Ends()


@given(MINUTES)
def test_every_window_equals_a_recount(offsets):
    """By the minute within six hours, by the hour beyond: the same as everything counted, whatever the gaps."""
    minutes = {FIRST + offset: ends for offset, ends in offsets.items()}
    ledger = EndsLedger(30)
    for minute in sorted(minutes):
        ledger.see({minute: minutes[minute]})
    now = max(minutes, default=FIRST) + 1
    for window in (5, 30, HOUR_MINUTES, FINE_MINUTES):
        assert ledger.within(window, now) == counted(minutes, window, now)
    in_hours = -(-(now - 3 * DAY) // HOUR_MINUTES) * HOUR_MINUTES
    assert ledger.within(3 * DAY, now) == counted(minutes, now - in_hours, now)


@given(MINUTES, st.randoms(use_true_random=False))
def test_a_minute_told_again_counts_once(offsets, random):
    """Readings overlap by a quarter of an hour, and come from several processes: nothing is counted twice."""
    once, again = EndsLedger(30), EndsLedger(30)
    for offset in sorted(offsets):
        once.see({FIRST + offset: offsets[offset]})
        near = {FIRST + each: offsets[each] for each in offsets if offset - 15 <= each <= offset}
        again.see(near)
        if random.random() < 0.5:
            again.merge(once.minutes, once.hours)
    assert (again.minutes, again.hours) == (once.minutes, once.hours)


def test_what_is_committed_late_counts():
    """A minute that tells more than before is believed; one that tells less, as rows were deleted, is not."""
    ledger = EndsLedger(30)
    ledger.see({FIRST: (3, 1)})
    ledger.see({FIRST: (5, 1)})
    ledger.see({FIRST: (0, 0)})
    assert ledger.within(5, FIRST + 1) == Ends(5, 1, 1)


def test_it_is_bounded():
    """Six to seven hours of minutes and the period's hours, however long it is fed."""
    ledger = EndsLedger(2)
    for minute in range(FIRST, FIRST + 4 * DAY):
        ledger.see({minute: (1, 0)})
    assert FINE_MINUTES <= len(ledger.minutes) <= FINE_MINUTES + HOUR_MINUTES
    assert len(ledger.hours) <= 48
    assert ledger.within(2 * DAY, FIRST + 4 * DAY).good in range(2 * DAY - HOUR_MINUTES, 2 * DAY + 1)


def test_who_starts_anew_has_all_from_another():
    """What one has seen in days another knows after one look, minutes and hours."""
    old, new = EndsLedger(30), EndsLedger(30)
    for minute in range(FIRST, FIRST + DAY):
        old.see({minute: (2, 1)})
    new.see({FIRST + DAY: (1, 1)})
    new.merge(old.minutes, old.hours)
    assert new.within(3 * DAY, FIRST + DAY) == old.within(3 * DAY, FIRST + DAY)
