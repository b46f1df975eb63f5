"""Names that somebody else gives make a bounded number of series, escaped so that they come back as they were."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.errors import SettingsError
from tasker_health.health import Health
from tasker_health.loading import load_settings
from tasker_health.naming import LONGEST_NAME, MOST_NAMES, label
from tasker_health.sources.tasker.figures import groups_of
from tasker_health.sources.tasker.tally import Counts

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
GROUP, STEPS = "tasker_health_source_group_tasks", "tasker_health_source_steps"
HOSTILE = {
    "quotes": 'a "quoted" name',
    "a backslash at the end": "C:\\shop\\",
    "an escaped quote": '\\"',
    "newlines": "one\ntwo\r\nthree\u2028four\x85five",
    "looks like a sample": 'x"} 1\ntasker_health_ready 0\n# EOF',
    "NUL": "be\0fore",
    "from right to left": "\u202eevil\u202c \u0645\u062a\u062c\u0631",
    "beyond the basic plane": "\U0001f6d2" * 3,
    "braces": "{a=1,b=2}",
    "spaces": "  ",
    "other": "other",
    "unknown": "unknown",
}
CHANGED = {
    "empty": ("", "unknown"),
    "half a surrogate pair": ("a\ud800b", "a?b"),
    "very long": ("l" * 100_000, "l" * (LONGEST_NAME - 1) + "…"),
    "as long as may be": ("m" * LONGEST_NAME, "m" * LONGEST_NAME),
}
SIX = {"pending": 1, "running": 0, "completed": 2, "failed": 0, "cancelled": 0, "other": 0}


def scraped(**facts):
    """Return what both formats and the status say of a source with *facts*, through the whole of a health."""

    async def scene():
        health = Health(settings_of(), clock=FakeClock())
        health.add_source(FakeSource(facts_of(**facts)))
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            answers = [
                await client.get("/tasker/metrics"),
                await client.get("/tasker/metrics", headers={"Accept": OPENMETRICS}),
                await client.get("/tasker/health/status"),
            ]
        await health.stop()
        return answers

    text, openmetrics, status = asyncio.run(scene())
    assert [each.status_code for each in (text, openmetrics)] == [200, 200]
    both = []
    for answer, parse in ((text, parse_text), (openmetrics, parse_openmetrics)):
        samples = [sample for family in parse(answer.content.decode()) for sample in family.samples]
        series = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
        assert len(series) == len(samples), "a series is told twice"
        both.append(series)
    assert set(both[0]) == set(both[1])
    fleet = [key for key in both[0] if key[0] in {GROUP, STEPS, "tasker_health_tasks"}]
    assert [both[0][key] for key in fleet] == [both[1][key] for key in fleet]
    return both[0], json.loads(status.content)


def groups_in(series):
    """Return the states of each group that is told."""
    found = {}
    for (name, *labels), value in series.items():
        if name == GROUP:
            of = dict(labels)
            found.setdefault(of["group"], {})[of["state"]] = value
    return found


def test_hostile_names_come_back_as_they_were():
    """Quoted, escaped and equal in both formats; what no encoding takes, or nobody could read, is replaced."""
    groups = dict.fromkeys((*HOSTILE.values(), *(given for given, _ in CHANGED.values())), SIX)
    series, status = scraped(groups=groups)
    told = {*HOSTILE.values(), *(name for _, name in CHANGED.values())}
    assert set(groups_in(series)) == told
    assert set(status["sources"]["shop"]["groups"]) == told
    assert series["tasker_health_ready",] == 1


def test_names_that_become_one_are_counted_together():
    """An empty one and `unknown`; two that differ beyond the limit."""
    groups = {"": SIX, "unknown": SIX, "x" * 200: SIX, "x" * 300: SIX, "y": {"strange state": 5}}
    told = groups_in(scraped(groups=groups)[0])
    assert set(told) == {"unknown", label("x" * 200), "y"}
    assert told["unknown"] == told[label("x" * 200)] == {state: 2 * number for state, number in SIX.items()}
    assert told["y"] == {"other": 5}


@pytest.mark.parametrize("most", [1, 20, 1000])
def test_ten_thousand_namespaces_make_as_many_series_as_the_settings_allow(most):
    """From the counts of the source to both formats: the largest, and `other` with all the rest; nothing is lost."""
    names = {number: f"{number}: {name}" for number in range(10_000) for name in [[*HOSTILE.values()][number % 12]]}
    names[7] = "other"  # one that bears the very name
    counts = Counts()
    counts.tasks = Counter({(number, "pending"): number + 1 for number in names})
    counts.tasks[7, "pending"] = 20_000
    series, _ = scraped(groups=groups_of(counts, names, most))
    told = groups_in(series)
    assert len(told) <= most + 1
    assert sum(name == GROUP for name, *_ in series) <= 6 * (most + 1)
    assert sum(states["pending"] for states in told.values()) == counts.tasks.total()
    if most > 1:
        assert names[9_999] in told


def test_ten_thousand_groups_of_a_source_of_ones_own_are_bounded_too():
    """However many it answers, and however many states of steps; the largest are told apart, nothing is lost."""
    groups = {f'group "{number}"': {"pending": number} for number in range(10_000)}
    steps = {f"state\n{number}": number for number in range(10_000)}
    series, status = scraped(groups=groups, steps_by_state=steps, tasks_by_state=steps)
    told = groups_in(series)
    assert len(told) == MOST_NAMES
    assert told['group "9999"'] == {"pending": 9_999}
    assert sum(states["pending"] for states in told.values()) == sum(steps.values())
    states = [value for (name, *_), value in series.items() if name == STEPS]
    assert len(states) == MOST_NAMES
    assert sum(states) == sum(steps.values())
    assert len(status["sources"]["shop"]["tasks_by_state"]) == MOST_NAMES


@pytest.mark.parametrize(
    "facts",
    [
        {"groups": ["shop"]},
        {"groups": {"shop": 5}},
        {"groups": {"shop": {"pending": -1}}},
        {"groups": {"shop": {"pending": "many"}}},
        {"groups": {5: SIX}},
        {"steps_by_state": {"complete": None}},
        {"steps_by_state": 7},
    ],
    ids=repr,
)
def test_what_is_no_count_by_name_is_no_reading(facts):
    """A source of one's own that answers something else is unreadable, for this reason, and everything else is told."""
    series, status = scraped(**facts)
    assert status["sources"]["shop"]["reason"] == "invalid"
    assert series["tasker_health_source_errors_total", ("reason", "invalid"), ("source", "shop")] >= 1


def test_more_groups_than_can_be_borne_are_refused(monkeypatch):
    """The settings say so, not the first scrape."""
    monkeypatch.setenv("TASKER_SOURCES__SHOP__KIND", "tasker")
    monkeypatch.setenv("TASKER_SOURCES__SHOP__MOST_GROUPS", "1001")
    with pytest.raises(SettingsError, match="1000"):
        load_settings()
