"""What ended within the window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasker_health.sources.window import Ended, Window

ENDED = Ended(completed=1, failed=2, timed_tasks=3, task_ms=4, timed_steps=5, step_ms=6)


def test_buckets_are_seconds_and_longer_in_long_windows():
    """So that a window of days is bounded too."""
    assert Window(60).bucket_seconds == 1
    assert Window(7200).bucket_seconds == 2


def test_the_edge_of_the_window_is_that_of_a_bucket():
    """A bucket counts as long as any of its seconds could."""
    window = Window(10)
    window.add([(100, ENDED)])
    assert window.total(110.9) == ENDED
    assert window.total(111.0) == Ended()
    assert window.buckets == {}


def test_what_is_not_settled_counts_and_is_not_kept():
    """It is looked at again next time."""
    window = Window(10)
    window.add([(100, ENDED)])
    assert window.total(105, [(104, ENDED), (94, ENDED)]) == ENDED.plus(ENDED)
    assert window.total(105) == ENDED


def test_another_goes_on_apart():
    """What is added to one is not in the other."""
    window = Window(10)
    other = window.apart()
    other.add([(100, ENDED)])
    assert (window.total(100), other.total(100)) == (Ended(), ENDED)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=60), st.integers(1, 60))
def test_the_running_sum_is_the_sum_of_the_buckets(added, seconds):
    """In whatever order they are added and time goes on."""
    window, kept, now = Window(seconds), [], 0
    for number, (bucket, pause) in enumerate(added):
        now += pause
        ended = Ended(completed=number, step_ms=number * 7)
        window.add([(bucket, ended)])
        kept.append((bucket, ended))
        first = window.first_bucket(now)
        wanted = [each for at, each in kept if at >= first]
        total = window.total(now)
        assert (total.completed, total.step_ms) == (sum(e.completed for e in wanted), sum(e.step_ms for e in wanted))
        kept = [each for each in kept if each[0] >= first]
