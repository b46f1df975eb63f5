"""The tables of Datadog's names in docs/monitoring.md are what is sent, and nothing else is."""

from __future__ import annotations

import re

import pytest

from monitoring_page import full_snapshot, section
from tasker_health.exporters.datadog_series import OF_EVERYTHING, figures, name_of, service_checks, settled
from tasker_health.exporters.table import instruments

ROW = re.compile(r"^\| `(tasker\.[\w.]+)` \| (\w+) \|(.*?)\| (.+) \|$", re.MULTILINE)
KINDS = {"counter": "count", "info": "gauge"}


@pytest.fixture(scope="module")
def snapshot():
    """What there is to tell of a health of which everything is known."""
    return full_snapshot()


@pytest.fixture(scope="module")
def rows():
    """The rows of the section: type, tags and what it is made of or says, by name and whether it is a service check."""
    text = section("Datadog")
    found = ROW.findall(text)
    assert len(found) == len(re.findall(r"^\| `", text, re.MULTILINE)), "a row that is not understood"
    return {
        (name, kind == "check"): (kind, tuple(re.findall(r"`(\w+)`", tags)), last) for name, kind, tags, last in found
    }


def row(name, kind, labels, last):
    """Return the row as it has to stand in the page."""
    return f"| `{name}` | {kind} | {', '.join(f'`{each}`' for each in labels)} | {last} |"


def test_every_metric_stands_in_the_table(snapshot, rows):
    """Under its name, with its type, its tags and what it is in Prometheus; and the table names no other."""
    told, missing = {}, []
    for each in instruments(snapshot, guide_names=True):
        for part in settled(each):
            labels = tuple(label for label in part.labels if label not in OF_EVERYTHING)
            told[name_of(part.name), False] = (KINDS.get(part.kind, part.kind), labels, f"`{each.name}`")
            assert {figure.series.name for figure in figures(part)} == {name_of(part.name)}
            if rows.get((name_of(part.name), False)) != told[name_of(part.name), False]:
                missing.append(row(name_of(part.name), *told[name_of(part.name), False]))
    documented = {key: value for key, value in rows.items() if not key[1]}
    assert documented == told, "the page needs:\n" + "\n".join(missing)


def test_every_service_check_stands_in_the_table(snapshot, rows):
    """With the tags that tell several apart."""
    told = {
        check.name: tuple(dict.fromkeys(tag.partition(":")[0] for tag in check.tags))
        for check in service_checks(snapshot)
    }
    assert {name: tags for (name, is_check), (_, tags, _) in rows.items() if is_check} == told


def test_names_are_those_that_datadog_takes(rows):
    """Small ASCII letters, digits, underscores and periods, at most 200 ("Custom metrics", naming)."""
    assert all(re.fullmatch(r"[a-z][a-z0-9_.]{0,199}", name) for name, _ in rows)
