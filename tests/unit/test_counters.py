"""The counts: a run is in the bucket that it belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.counters import BUCKETS_SECONDS, CheckCounts, Counters


@given(runs=st.lists(st.floats(0, 20) | st.sampled_from(BUCKETS_SECONDS), max_size=30))
def test_up_to_each_bound_are_the_runs_that_did_not_exceed_it(runs):
    """A run of exactly a bound's length is within it; what exceeds the last bound is counted after it."""
    counts = CheckCounts()
    for seconds in runs:
        counts.ran(seconds)
    for position, bound in enumerate(BUCKETS_SECONDS, start=1):
        assert sum(counts.by_bucket[:position]) == sum(seconds <= bound for seconds in runs)
    assert sum(counts.by_bucket) == len(runs)
    assert counts.seconds == pytest.approx(sum(runs))


def test_each_name_has_counts_of_its_own():
    """The same name gets the same counts again."""
    counters = Counters()
    assert counters.check("a") is counters.check("a")
    assert counters.check("a") is not counters.check("b")
    assert counters.source("a") is counters.source("a")
    counters.source("a").failed("timeout")
    counters.source("a").failed("timeout")
    assert counters.source("a").errors == {"timeout": 2}
    assert counters.source("b").errors == {}
