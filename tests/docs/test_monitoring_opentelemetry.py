"""The table of OpenTelemetry's names in docs/monitoring.md is made by the rule, for every metric of the page."""

from __future__ import annotations

import re

from monitoring_page import section
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.semantic import meaning

METRIC = re.compile(r"^\| `(tasker_\w+)` \| (\w+) \|", re.MULTILINE)
ROW = re.compile(r"^\| `(tasker_health\.[\w.]+)` \| (\w+) \| (?:`([^`]+)`)? ?\| `(tasker_\w+)` \|$", re.MULTILINE)
KINDS = {"gauge": "gauge", "counter": "sum", "histogram": "histogram"}


def test_every_metric_has_its_name_and_unit_at_opentelemetry():
    """In the order of the page's first table, which a test of its own holds to the code; and there is no other row."""
    expected = []
    for name, kind in METRIC.findall(section("Metrics")):
        means = meaning(Instrument(name, kind, ""))
        expected.append((means.name, KINDS[kind], means.unit, name))
    text = section("OpenTelemetry")
    assert ROW.findall(text) == expected
    assert len(re.findall(r"^\| `", text, re.MULTILINE)) == len(expected)
