"""The arithmetic of the report, and the order of its page."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[3]))

from bench.page import arranged
from bench.report import Guide, Row, goals, p99


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=400))
def test_at_least_99_of_100_do_not_exceed_p99(values):
    """And it is the least figure of which that is true."""
    found = p99(values)
    within = sum(value <= found for value in values)
    assert within >= 0.99 * len(values)
    assert sum(value < found for value in values) < 0.99 * len(values)


def row(guide=None, milliseconds=()):
    """Return a row that was measured so."""
    return Row("status, cached", None, None, "role", guide, list(milliseconds), cpu_ms=3.0)


def test_a_row_tells_the_guides_word_beside_what_was_measured():
    """What was not counted has no figure."""
    assert row(Guide(10, 15), [1.0, 2.0, 9.0]).cells() == ("status, cached", "10-15", "2.00", "9.00", "1.00", "", "")


@pytest.mark.parametrize(
    ("milliseconds", "verdict"), [([1.0] * 99 + [500.0], "reached, 1 ms"), ([1.0] * 9 + [16.0], "NOT REACHED, 16 ms")]
)
def test_a_goal_is_the_guides_most_for_99_of_100(milliseconds, verdict):
    """A row of which the guide says nothing has none."""
    (goal,) = goals([row(Guide(10, 15), milliseconds), row(None, milliseconds)])
    assert goal.verdict == f"/status, cached, p99: {verdict} (at most 15 ms)"


def kept(name):
    """Return a table as a page keeps it."""
    return f"<!-- {name}: written by ./dev bench {name} --write -->\n## {name}\n<!-- end of {name} -->"


def test_tables_are_put_in_order_and_nothing_is_lost():
    """What stands before, between and after them stays; one of another name comes after the others."""
    page = f"# Top\n\n{kept('status')}\n\n{kept('new')}\n\nBetween.\n\n{kept('report')}\n\n## Below\n"
    wanted = f"# Top\n\n{kept('report')}\n\n{kept('status')}\n\n{kept('new')}\n\nBetween.\n\n## Below\n"
    assert arranged(page, ["report", "status"]) == wanted
    assert arranged(wanted, ["report", "status"]) == wanted
    assert arranged("# Nothing\n", ["report"]) == "# Nothing\n"


def test_the_page_has_a_place_for_the_guides_table_before_all_others():
    """As the report leaves it."""
    page = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert page.index("<!-- report:") < page.index("<!-- serving:")
