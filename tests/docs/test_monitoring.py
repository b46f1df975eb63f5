"""The tables of metrics in docs/monitoring.md are what is told, and nothing else is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.cache.memory import MemoryCache
from tasker_health.counters import AccessCounts, DeliveryCounts, Vitals
from tasker_health.exporters import fleet, process, take_snapshot
from tasker_health.health import Health
from tasker_health.model import CountingMethod

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
ROW = re.compile(r"^\| `(tasker_\w+)` \| (\w+) \| ([\w ]*) ?\| (\w+) \|(.*?)\| (.+) \|$", re.MULTILINE)
KINDS = {"info": "gauge"}
"""What an instrument becomes in Prometheus' text format."""

KNOWN_BY_SOME = {
    "steps_by_state": {"complete": 7},
    "groups": {"shop": {"pending": 3}},
    "oldest_pending_seconds": 90,
    "drift": 0,
    "method": CountingMethod.TALLY,
}


class FleetCache(MemoryCache):
    """A cache that is said to be shared."""

    name = "redis"


@pytest.fixture(scope="module")
def told():
    """Instruments by section of the page and whose they are, of a health of which everything is known."""

    async def scene():
        health = Health(settings_of(), clock=FakeClock(), cache=FleetCache())
        health.add_source(FakeSource(facts_of(**KNOWN_BY_SOME)))
        health.check("well")(lambda: None)
        health.monitor.vitals = lambda: Vitals(0.25, 2)
        snapshot = await take_snapshot(health.monitor, AccessCounts(), {"datadog": DeliveryCounts()})
        await health.stop()
        return snapshot

    snapshot = asyncio.run(scene())
    return {
        ("Metrics", "fleet"): list(fleet.figures(snapshot.status)),
        ("Metrics", "process"): list(process.figures(snapshot)),
        ("The guide's names", "fleet"): list(fleet.figures_of_the_guide(snapshot.status)),
    }


def documented(section):
    """Return the rows of *section*: type, labels and whose by name."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
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
    for name, _, unit, *_ in ROW.findall(PAGE.read_text()):
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
