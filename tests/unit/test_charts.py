"""Charts: what they draw, what they say to who cannot see them, and that nothing breaks out of them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.charts import Bar, Line, bar_chart, line_chart, spark_chart, ticks_of
from tasker_health.markup import MOST_CHARACTERS, escaped

HOSTILE = "</title><script>alert(1)</script>\"'><svg onload=x>\u202e"
VALUES = st.lists(st.none() | st.floats() | st.integers(-5, 10**15), max_size=800)


def lines_of(*series, **labels):
    """Return the parsed chart of *series*."""
    made = [Line(f"line {number}", colour, values) for number, (colour, values) in enumerate(series)]
    return ET.fromstring(line_chart("Title", made, from_label="10:00", to_label="11:00", **labels))


def told(chart):
    """Return the description of *chart*."""
    return chart.findtext("desc")


def paths(chart):
    """Return what the lines of *chart* draw, without the key."""
    return [each.get("d") for each in chart.iter("path") if not each.get("d").endswith("h22")]


def test_a_chart_is_a_picture_with_a_title_and_its_figures_in_words():
    """What a screen reader hears."""
    chart = lines_of(("good", [1, None, 3]), ("bad", [None, None]), unit="ms")
    assert (chart.get("role"), chart[0].tag, chart[0].text, chart[1].tag) == ("img", "title", "Title", "desc")
    assert told(chart) == (
        "From 10:00 to 11:00. line 0: 3 ms last, lowest 1 ms, highest 3 ms, not known in 1 of 3 parts."
        " line 1: nothing is known."
    )


def test_what_is_not_known_is_a_gap_and_one_value_alone_a_dot():
    """No line is drawn through it."""
    (path,) = paths(lines_of(("good", [1, 2, None, 4, None])))
    assert re.findall("[MLh]", path) == ["M", "h", "L", "M", "h"]
    assert paths(lines_of(("good", [None, None]))) == []


def test_lines_differ_without_colour():
    """In their dashes."""
    chart = lines_of(*((colour, [1, 2]) for colour in ("good", "bad", "warn", "other")))
    dashes = [each.get("stroke-dasharray") for each in chart.iter("path")]
    assert len(set(dashes)) == 4


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (1, [0, 0.25, 0.5, 0.75, 1]),
        (7, [0, 2, 4, 6, 8]),
        (0.3, [0, 0.1, 0.2, 0.3]),
        (1250, [0, 500, 1000, 1500]),
        (0, [0, 1]),
        (math.inf, [0, 1]),
    ],
)
def test_the_axis_has_a_few_round_labels(largest, ticks):
    """From 0 to what is not below the largest."""
    assert ticks_of(largest) == pytest.approx(ticks)


@given(st.floats(1e-9, 1e18))
def test_there_are_always_a_few_and_the_last_is_large_enough(largest):
    """Whatever the largest is."""
    ticks = ticks_of(largest)
    assert 3 <= len(ticks) <= 6
    assert ticks[-1] >= largest * 0.999999


def test_no_chart_needs_a_style_of_its_own():
    """A strict policy would refuse it; classes only."""
    made = line_chart("a", [Line("a", "good", [1])], from_label="", to_label="")
    made += bar_chart("a", [Bar("a", "bad", 1)]) + spark_chart("a", [1], ["bad"])
    assert not re.search(r"style|fill=|stroke=|href|\son|<script", made)


def test_bars_say_their_figures_and_what_is_not_known():
    """Each is as long as its figure; a tiny one can be seen; nothing has no bar."""
    chart = ET.fromstring(
        bar_chart(
            "Title", [Bar("much", "good", 10_000), Bar("little", "bad", 1), Bar("none", "bad", None)], unit="steps"
        )
    )
    widths = [float(each.get("width")) for each in chart.iter("rect")]
    assert widths[0] > 100
    assert widths[1] == 1
    assert len(widths) == 2
    assert told(chart) == "much 10,000 steps, little 1 steps, none unknown."


def test_a_small_chart_keeps_its_worst_moment():
    """However many there are; bad is higher than warn."""
    colours = ["good"] * 720
    colours[300], colours[500] = "bad", "warn"
    chart = ET.fromstring(spark_chart("Title", [1] * 720, colours, unit="ms"))
    bars = {each.get("class"): float(each.get("height")) for each in chart.iter("rect")}
    assert bars["bad"] > bars["warn"] > 0
    assert "In error in 1 and degraded in 1 of 720 parts" in told(chart)


@given(VALUES)
def test_whatever_is_drawn_is_bounded_and_whole(values):
    """Not a number, infinite, below zero, very many."""
    colours = ["bad" if value is None else "good" for value in values]
    for made in (
        line_chart("a", [Line("a", "good", values)], from_label="a", to_label="b"),
        spark_chart("a", values, colours),
        bar_chart("a", [Bar("a", "good", value) for value in values[:20]]),
    ):
        chart = ET.fromstring(made)
        assert len(made) < 10_000
        assert not re.search(r"nan|inf", " ".join(each.get("d", "") + each.get("width", "") for each in chart.iter()))


def test_names_stay_text():
    """In the title, the words, the key and the labels."""
    for made in (
        line_chart(HOSTILE, [Line(HOSTILE, HOSTILE, [1])], from_label=HOSTILE, to_label=HOSTILE, unit=HOSTILE),
        bar_chart(HOSTILE, [Bar(HOSTILE, HOSTILE, 1)], unit=HOSTILE),
        spark_chart(HOSTILE, [1], ["bad"], unit=HOSTILE),
    ):
        chart = ET.fromstring(made)
        assert {each.tag for each in chart.iter()} <= {"svg", "title", "desc", "line", "text", "path", "rect"}
        assert not any("onload" in each.attrib for each in chart.iter())


def test_text_is_escaped_cut_and_cannot_turn_its_direction():
    """The one way into the markup."""
    assert escaped("<a href=\"x\" title='y'>&") == "&lt;a href=&quot;x&quot; title=&#x27;y&#x27;&gt;&amp;"
    assert escaped("a\u202eb\u2066c\x00d\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert escaped("x" * 10_000) == "x" * MOST_CHARACTERS + "… (10,000 characters)"
    escaped("\ud800").encode()
