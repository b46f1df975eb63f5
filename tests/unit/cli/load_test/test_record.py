"""Percentiles are those of the sorted list, histograms lose nothing, and what is kept is bounded."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.cli.load_test.record import (
    BOUNDS_MS,
    CACHED,
    PERCENTILES,
    SLOWEST,
    UNCACHED,
    Outcome,
    Record,
    Times,
    histogram,
    merged,
    over_time,
    percentile,
    spread,
)

LATENCIES = st.lists(st.floats(0, 100_000, allow_nan=False), max_size=200)


def recounted(values, percent):
    """Return the least value that *percent* of *values* do not exceed, by counting."""
    return min(each for each in values if Fraction(sum(v <= each for v in values), len(values)) * 100 >= percent)


@given(values=LATENCIES.filter(bool), percent=st.sampled_from([Fraction(str(each)) for each in (*PERCENTILES, 1, 100)]))
def test_a_percentile_is_what_counting_finds(values, percent):
    """The nearest rank, with nothing between two values made up."""
    assert percentile(sorted(values), float(percent)) == recounted(values, percent)


@pytest.mark.parametrize(("percent", "expected"), [(50, 500), (90, 900), (99, 990), (99.9, 999), (100, 1000)])
def test_of_a_thousand_the_rank_is_the_percentile(percent, expected):
    """Rounding in floating point does not make it the next one."""
    assert percentile(range(1, 1001), percent) == expected


def test_of_nothing_nothing_is_known():
    """No percentile, no mean and no maximum is made up."""
    assert spread([]) == (None, dict.fromkeys(("50", "90", "95", "99", "99.9")), None)
    assert sum(histogram([])) == 0


@given(parts=st.lists(LATENCIES, max_size=5))
def test_histograms_together_are_the_histogram_of_all(parts):
    """What is counted by endpoint can be added up."""
    assert merged(map(histogram, parts)) == histogram([value for part in parts for value in part])


@given(values=LATENCIES)
def test_each_value_is_in_the_bar_of_its_bounds(values):
    """Each bar has what its bound does not exceed and the one before does."""
    bounds = [-1, *BOUNDS_MS, float("inf")]
    assert histogram(values) == [
        sum(low < value <= high for value in values) for low, high in itertools.pairwise(bounds)
    ]


@given(values=LATENCIES.filter(bool))
def test_pieces_of_the_run_have_all_requests_once(values):
    """By when each was due; the worst of the run is the worst of a piece."""
    record = Record("live")
    for number, ms in enumerate(values):
        record.add(Times(number, number, number + ms / 1000), Outcome(200))
    pieces = over_time(record, len(values))
    assert sum(piece.requests for piece in pieces) == len(values)
    assert max(piece.max_ms for piece in pieces if piece.max_ms is not None) == max(record.latency_ms)


def test_only_the_slowest_are_kept_with_all_they_are():
    """Ten of ten thousand, and those are the slowest."""
    record = Record("live")
    for number in range(10_000):
        record.add(Times(number, number + 0.5, number + 1 + (number * 7919 % 10_000)), Outcome(200))
    assert len(record.slowest) == SLOWEST
    assert {slow.latency_ms for slow in record.slowest} == set(sorted(record.latency_ms)[-SLOWEST:])
    assert record.slowest[0].late_ms == 500


def test_what_came_is_counted_by_what_it_is():
    """Codes, faults, true answers of trouble and cached answers, each apart."""
    record = Record("status")
    for outcome in (
        Outcome(200, "", CACHED),
        Outcome(200, "", UNCACHED),
        Outcome(503, "", CACHED, is_unhealthy=True),
        Outcome(0, "timeout"),
        Outcome(500, "code"),
    ):
        record.add(Times(1, 1.25, 1.5), outcome)
    assert record.codes == Counter({200: 2, 503: 1, 500: 1})
    assert record.faults == Counter(timeout=1, code=1)
    assert (record.unhealthy, len(record.of_kind(CACHED)), len(record.of_kind(UNCACHED))) == (1, 2, 1)
    assert (record.latency_ms[0], record.service_ms[0]) == (500, 250)
