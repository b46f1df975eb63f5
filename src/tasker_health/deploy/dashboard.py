"""Grafana's dashboard, as its JSON model has it (Grafana documentation, "JSON model")."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from string import ascii_uppercase
from typing import Any

from tasker_health.deploy.panels import Panel
from tasker_health.deploy.panels.facts import FACTS
from tasker_health.deploy.panels.glance import GLANCE
from tasker_health.deploy.panels.replicas import OTHERS, REPLICAS
from tasker_health.deploy.panels.tasks import TASKS
from tasker_health.settings import HealthSettings

_SCHEMA_VERSION = 39
_COLUMNS = 24
_HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

ROWS = (
    ("At a glance", GLANCE),
    ("Tasks", TASKS),
    ("Facts", FACTS),
    ("Replicas", REPLICAS),
    ("Who asks, who is told", OTHERS),
)
"""All panels, by the row that they stand in."""


def dashboard(health: HealthSettings, job: str, interval: str) -> str:
    """Return the dashboard as JSON.

    Args:
        health: The thresholds that its panels show.
        job: Which job is shown first.
        interval: How often Prometheus scrapes: a panel is drawn anew no more often.
    """
    return json.dumps(_model(list(_placed(health)), job, interval), indent=2) + "\n"


def _model(panels: list[dict[str, Any]], job: str, interval: str) -> dict[str, Any]:
    return {
        "uid": "tasker-health",
        "title": "Tasker Health",
        "description": "Written by `tasker-health deploy` from the settings in force.",
        "tags": ["tasker-health"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timepicker": {},
        "annotations": {"list": [_alerts()]},
        "templating": {"list": list(_variables(job))},
        "links": [],
        "panels": [{**panel, **({"interval": interval} if "targets" in panel else {})} for panel in panels],
    }


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'max by (alertname) (ALERTS{job="$job", alertstate="firing"})',
        "titleFormat": "{{alertname}}",
    }


def _variables(job: str) -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    for name, label, query, several in (
        ("job", "Service", "label_values(tasker_health_ready, job)", False),
        ("instance", "Replica", 'label_values(tasker_health_ready{job="$job"}, instance)', True),
    ):
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": several,
            "includeAll": several,
            **({"allValue": ".*"} if several else {}),
            "current": {"text": "All", "value": "$__all"} if several else {"text": job, "value": job},
            "hide": 0,
        }


def _placed(health: HealthSettings) -> Iterator[dict[str, Any]]:
    """Yield rows and panels, from left to right and from top to bottom."""
    number = top = 0
    for title, panels in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": top},
            "panels": [],
        }
        top, left, height = top + 1, 0, 0
        for panel in panels:
            if left + panel.width > _COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            height = max(height, _HEIGHTS[panel.kind])
            place = {"h": _HEIGHTS[panel.kind], "w": panel.width, "x": left, "y": top}
            yield {"id": number, "gridPos": place, **_drawn(panel, health)}
            left += panel.width
        top += height


def _drawn(panel: Panel, health: HealthSettings) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, **_thresholds(panel, health)}, "overrides": []},
        "options": _OPTIONS[panel.kind](panel),
        "targets": [
            {
                "refId": letter,
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
                **({"format": "table"} if panel.kind == "table" else {}),
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
            }
            for letter, (legend, expression) in zip(ascii_uppercase, panel.queries, strict=False)
        ],
    }


def _thresholds(panel: Panel, health: HealthSettings) -> dict[str, Any]:
    if panel.warning is None:
        return {}
    warning = getattr(health, panel.warning) if isinstance(panel.warning, str) else panel.warning
    first, then = ("red", "green") if panel.is_worse_below else ("green", "red")
    steps = [{"color": first, "value": None}, {"color": then, "value": warning}]
    drawn = {"custom": {"thresholdsStyle": {"mode": "dashed"}}} if panel.kind == "timeseries" else {}
    return {"color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"}, **drawn} | {
        "thresholds": {"mode": "absolute", "steps": steps}
    }


def _stat_options(panel: Panel) -> dict[str, Any]:
    named = panel.queries[0][0] != ""  # whose answer is the legend, and its figure is 1
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "name" if named else "value",
        "colorMode": "value",
        "graphMode": "none",
    }


_OPTIONS: dict[str, Callable[[Panel], dict[str, Any]]] = {
    "stat": _stat_options,
    "timeseries": lambda _: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": lambda _: {"showHeader": True, "cellHeight": "sm"},
}
