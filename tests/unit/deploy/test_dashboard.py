"""Grafana's dashboard: a model that Grafana reads, panels that are told apart, and queries that have all they need."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from fakes import settings_of
from promql import metrics
from tasker_health.deploy.compose import render as compose
from tasker_health.deploy.dashboard import dashboard
from tasker_health.deploy.plan import plan_of

UNITS = {"none", "short", "s", "percentunit", "ops", "bool_yes_no"}
"""Of Grafana's own list, `@grafana/data` `valueFormats/categories.ts`."""


@pytest.fixture(scope="module")
def model():
    """The dashboard for the default settings."""
    return json.loads(dashboard(settings_of().health, "orders", "15s"))


def panels(model):
    """Return the panels of *model* that show something."""
    return [panel for panel in model["panels"] if panel["type"] != "row"]


def test_ids_and_titles_are_told_apart(model):
    """No two panels share a number or a name."""
    for key in ("id", "title"):
        values = [panel[key] for panel in model["panels"]]
        assert len(set(values)) == len(values), key


def test_every_panel_says_what_it_shows(model):
    """A title, a sentence, a unit that Grafana knows, and a query with a legend."""
    for panel in panels(model):
        assert panel["type"] in {"stat", "timeseries", "table"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["expr"]
            assert target["legendFormat"]
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["instant"] != target["range"]


def test_every_query_is_about_the_chosen_service(model):
    """Every selector has the job, and every variable is one of the dashboard's or Grafana's own."""
    known = {each["name"] for each in model["templating"]["list"]} | {"__rate_interval"}
    assert known == {"datasource", "job", "instance", "__rate_interval"}
    for panel in panels(model):
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= known
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            assert selectors
            assert all('job="$job"' in selector for selector in selectors), target["expr"]
            assert metrics(target["expr"]) <= set(re.findall(r"(\w+)\{", target["expr"])), "one without a selector"


def test_no_two_panels_overlap(model):
    """Each has a place of its own within the 24 columns, and rows stand before what is in them."""
    taken = set()
    for panel in model["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert [panel["gridPos"]["y"] for panel in model["panels"]] == sorted(p["gridPos"]["y"] for p in model["panels"])


def test_thresholds_are_those_of_the_settings():
    """What is borne, and how old facts may be."""
    health = settings_of(health={"degraded_failure_ratio": 0.25, "status_max_stale_seconds": 99}).health
    steps = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        for panel in panels(json.loads(dashboard(health, "orders", "15s")))
        if "thresholds" in panel["fieldConfig"]["defaults"]
    }
    assert steps["Failure ratio"] == [{"color": "green", "value": None}, {"color": "red", "value": 0.25}]
    assert steps["Age of facts"][1]["value"] == 99
    assert steps["Replicas ready"] == [{"color": "red", "value": None}, {"color": "green", "value": 1}]


def test_a_service_is_chosen_from_the_start(model):
    """The one that it was written for; all of its replicas."""
    first = {each["name"]: each["current"] for each in model["templating"]["list"]}
    assert first["job"]["value"] == "orders"
    assert first["instance"]["value"] == "$__all"


def test_grafana_finds_it_where_compose_mounts_it():
    """The provider names the folder that the file is in, and both files are where Grafana looks for them."""
    settings = settings_of()
    files = compose(plan_of(settings), settings)
    volumes = yaml.safe_load(files["compose.yaml"])["services"]["grafana"]["volumes"]
    mounted = dict(volume.split(":")[:2] for volume in volumes)
    (provider,) = yaml.safe_load(files["grafana/dashboards.yml"])["providers"]
    assert mounted["./grafana/dashboard.json"].startswith(f"{provider['options']['path']}/")
    assert mounted["./grafana/dashboards.yml"].startswith("/etc/grafana/provisioning/dashboards/")
    assert json.loads(files["grafana/dashboard.json"])["uid"] == "tasker-health"
