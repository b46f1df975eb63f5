"""The page on monitoring names every rule, every alert and every panel that is written, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fakes import settings_of
from monitoring_page import PAGE, section
from promql import metrics
from tasker_health.deploy.dashboard import ROWS
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.prometheus import render, watch_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def rules():
    """All rules for the default settings."""
    settings = settings_of()
    plan = plan_of(settings)
    files = render(plan, settings, watch_of(plan, settings, targets=("a:1",)))
    return [rule for group in yaml.safe_load(files["prometheus/rules.yml"])["groups"] for rule in group["rules"]]


def test_every_recorded_figure_is_named(rules):
    """In the order in which they are recorded."""
    recorded = re.findall(r"^\| `(job:[\w:]+)` \| .+ \|$", section("Recording rules and alerts"), re.MULTILINE)
    assert recorded == [rule["record"] for rule in rules if "record" in rule]


def test_every_alert_is_named(rules):
    """With its severity and how long it holds first."""
    rows = re.findall(
        r"^\| \[`(\w+)`\]\(#(\w+)\) \| (\w+) \| ([\w ]+) \| .+ \|$", section("Recording rules and alerts"), re.MULTILINE
    )
    assert rows == [
        (
            rule["alert"],
            rule["alert"].lower(),
            rule["labels"]["severity"],
            "at once" if rule["for"] == "0s" else rule["for"],
        )
        for rule in rules
        if "alert" in rule
    ]


def test_every_alert_has_a_paragraph_that_says_what_to_do(rules):
    """Where its link leads: it begins with the alert's own summary."""
    paragraphs = dict(re.findall(r"^#### (\w+)\n\n(.+(?:\n.+)*)", section("Recording rules and alerts"), re.MULTILINE))
    assert list(paragraphs) == [rule["alert"] for rule in rules if "alert" in rule]
    for rule in (rule for rule in rules if "alert" in rule):
        told = " ".join(paragraphs[rule["alert"]].split())
        assert told.startswith(f"{rule['annotations']['summary']}. ")
        assert len(told) > len(rule["annotations"]["summary"]) + 40


def test_every_panel_is_named():
    """With its row and what it shows, in the order of the dashboard."""
    rows = re.findall(r"^\| ([^|`]+) \| ([^|]+) \| (.+) \|$", section("Dashboard"), re.MULTILINE)
    assert rows[1:] == [(row, panel.title, panel.description) for row, panels in ROWS for panel in panels]


def test_what_rules_and_panels_ask_for_is_told(rules):
    """No metric is misspelt: each is in a table of this page."""
    known = set(re.findall(r"^\| `(tasker_\w+)` \|", PAGE, re.MULTILINE))
    asked = {name for rule in rules for name in metrics(rule["expr"])}
    asked |= {name for _, panels in ROWS for panel in panels for _, query in panel.queries for name in metrics(query)}
    assert len(asked) > 30
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= known


def test_the_page_of_the_command_names_every_file_and_option():
    """What is written, and what can be said."""
    settings = settings_of()
    plan = plan_of(settings)
    page = (DOCS / "deploy" / "prometheus.md").read_text()
    for name in render(plan, settings, watch_of(plan, settings, targets=("a:1",))):
        assert f"| `{name}` |" in page, name
    for option in (
        "server",
        "job",
        "interval",
        "for-seconds",
        "alertmanager",
        "prometheus",
        "credentials-file",
        "runbooks",
    ):
        assert f"`--{option}" in page, option
