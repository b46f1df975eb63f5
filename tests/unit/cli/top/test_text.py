"""Text and small pictures for a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tasker_health.cli.top.text import bar, cell, clean, count, milliseconds, seconds, sparkline

VALUES = st.lists(st.none() | st.floats(0, 1e12) | st.integers(0, 10**12), max_size=800)


@given(st.text(max_size=200))
def test_cleaned_text_is_short_and_cannot_steer_a_terminal(text):
    """Whatever is named: no control character, no mark that turns the direction, and 40 characters at most."""
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= 40


@given(st.text(max_size=60), st.integers(1, 50))
def test_a_cell_has_its_width(text, width):
    """Wide and combining characters move no column."""
    assert cell_len(cell(clean(text), width)) == width


@given(VALUES, st.integers(0, 120))
def test_a_sparkline_fits_and_shows_gaps_as_gaps(values, width):
    """It has as many blocks as there is room for; a part is blank exactly when nobody saw it."""
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    if len(line) == len(values):
        assert [block == " " for block in line] == [value is None for value in values]


def test_a_sparkline_shows_the_highest_of_each_part():
    """A short peak is not averaged away, and a little is not drawn as nothing."""
    assert sparkline([0, 0, 9, 0, None, None, 1, 0], 4) == "▁█ ▂"


@pytest.mark.parametrize(("value", "top", "bars"), [(0, 5, 0), (1, 10**9, 1), (5, 5, 10), (10**30, 5, 10), (-1, 5, 0)])
def test_a_bar_fits(value, top, bars):
    """Nothing has no bar, a little has one cell, and nothing is longer than the room."""
    assert bar(value, top, 10) == "█" * bars


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "unknown"), (1250, "1,250"), (0.0312, "0.0312"), (10**400, "too many"), (-(10**400), "too many")],
)
def test_counts_are_told(value, words):
    """What is not known is not 0, and a figure that nobody can have pushes nothing off the line."""
    assert count(value) == words


def test_durations_are_told():
    """In the unit that a person would choose."""
    assert [milliseconds(12), milliseconds(95_000), milliseconds(None), milliseconds(10**30)] == [
        "12 ms",
        "95 s",
        "unknown",
        "too many",
    ]
    assert [seconds(-3), seconds(7.9), seconds(300), seconds(8000), seconds(10**6)] == [
        "0 s",
        "7 s",
        "5 min",
        "2 h",
        "11 d",
    ]
