"""The tables of metrics in docs/monitoring.md are what is told, and nothing else is."""

from __future__ import annotations

import re

import pytest

from monitoring_page import PAGE, full_snapshot, section
from tasker_health.exporters import fleet, objectives, process, work, workers

ROW = re.compile(r"^\| `(tasker_\w+)` \| (\w+) \| ([\w ]*) ?\| (\w+) \|(.*?)\| (.+) \|$", re.MULTILINE)
KINDS = {"info": "gauge"}
"""What an instrument becomes in Prometheus' text format."""


@pytest.fixture(scope="module")
def told():
    """Instruments by section of the page and whose they are, of a health of which everything is known."""
    snapshot = full_snapshot()
    return {
        ("Metrics", "fleet"): [
            *fleet.figures(snapshot.status),
            *work.figures(snapshot.status),
            *workers.figures(snapshot.status),
            *objectives.figures(snapshot.status),
        ],
        ("Metrics", "process"): list(process.figures(snapshot)),
        ("The guide's names", "fleet"): list(fleet.figures_of_the_guide(snapshot.status)),
    }


def documented(heading):
    """Return the rows of the section *heading*: type, labels and whose by name."""
    text = section(heading)
    rows = ROW.findall(text)
    assert len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE)), "a row that is not understood"
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), whose) for name, kind, _, whose, labels, _ in rows}


@pytest.mark.parametrize("section", ["Metrics", "The guide's names"])
def test_every_metric_stands_in_its_table(told, section):
    """Under its name, with its type and labels and whose it is; and the table names no other."""
    instruments = {
        each.name: (KINDS.get(each.kind, each.kind), each.labels, whose)
        for (of, whose), instruments in told.items()
        if of == section
        for each in instruments
        if each.points or each.histograms
    }
    assert documented(section) == instruments


def test_units_are_those_of_the_names():
    """What is named for a unit is told in it, and a ratio is one."""
    for name, _, unit, *_ in ROW.findall(PAGE):
        if name.startswith("tasker_health_") and name != "tasker_health_build_info":
            assert name.endswith("_seconds") == unit.startswith("seconds"), name
            assert name.endswith("_ratio") == (unit.strip() == "0 to 1"), name


def test_everything_has_a_help_text_of_one_sentence(told):
    """As `promtool check metrics` wants it."""
    for instruments in told.values():
        for each in instruments:
            assert each.help.endswith("."), each.name
            assert "\n" not in each.help, each.name


def test_every_gauge_of_a_process_says_how_several_are_told_together(told):
    """Only what runs here is the process' own; what it has counted is added up."""
    own = {each.name for each in told["Metrics", "process"] if each.kind == "gauge" and each.among == "own"}
    assert own == set()
    assert {each.among for each in told["Metrics", "fleet"]} == {"own"}
