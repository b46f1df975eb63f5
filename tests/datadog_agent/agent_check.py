"""Our check under the Agent's own harness: run in `.venv-datadog-agent` by tests/integration/test_datadog_agent.py.

The environment names the folder that `deploy datadog` wrote (`AGENT_FOLDER`) and where to write what was told
(`AGENT_TOLD`). It is no test of the main suite, whose environment has other versions of the same libraries.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
import yaml

FOLDER = Path(os.environ["AGENT_FOLDER"])
TYPES = {0: "gauge", 2: "count", 3: "monotonic_count"}


@pytest.fixture
def instances():
    """What the configuration says."""
    return yaml.safe_load((FOLDER / "conf.d" / "tasker_health.d" / "conf.yaml").read_text())["instances"]


@pytest.fixture
def check_of(monkeypatch):
    """Make the check of an instance, as the Agent does: by name, from a folder of its path."""
    monkeypatch.syspath_prepend(FOLDER / "checks.d")
    module = importlib.import_module("tasker_health")
    return lambda instance: module.TaskerHealthCheck("tasker_health", {}, [instance])


def test_what_is_scraped(aggregator, dd_run_check, instances, check_of):
    """Metrics and service checks, nothing twice; they are handed to who asked for this."""
    (instance,) = instances
    dd_run_check(check_of(instance))
    aggregator.assert_service_check("tasker.health.openmetrics.health", status=0)
    aggregator.assert_no_duplicate_metrics()
    told = {
        "metrics": [
            [TYPES[stub.type], stub.name, sorted(stub.tags), stub.value]
            for name in aggregator.metric_names
            for stub in aggregator.metrics(name)
        ],
        "checks": [
            [name, stub.status, sorted(stub.tags)]
            for name in aggregator.service_check_names
            for stub in aggregator.service_checks(name)
        ],
    }
    Path(os.environ["AGENT_TOLD"]).write_text(json.dumps(told))


def test_counts_are_monotonic(aggregator, dd_run_check, instances, check_of):
    """A second run of the same check: the Agent itself makes increases of totals, from the second one on."""
    (instance,) = instances
    check = check_of(instance)
    dd_run_check(check)
    aggregator.reset()
    dd_run_check(check)
    (stub,) = aggregator.metrics("tasker.health.access_faults.count")
    assert TYPES[stub.type] == "monotonic_count"
    assert stub.flush_first_value


def test_a_server_that_is_not_there(aggregator, dd_run_check, instances, check_of):
    """It is not alive, and how it would be otherwise is not known; the Agent is told that the run failed."""
    instance = {
        **instances[0],
        "openmetrics_endpoint": "http://127.0.0.1:9/tasker/metrics",
        "live_url": "http://127.0.0.1:9/tasker/health/live",
    }
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9"):
        dd_run_check(check_of(instance))
    tags = instance["tags"]
    aggregator.assert_service_check("tasker.health.live", status=2, tags=tags)
    aggregator.assert_service_check("tasker.health.ready", status=3, tags=tags)
    aggregator.assert_service_check("tasker.health.status", status=3, tags=tags)
    assert not [name for name in aggregator.metric_names if name.startswith("tasker.")]


def test_a_token_that_is_wrong(aggregator, dd_run_check, instances, check_of, tmp_path):
    """Refused: alive, and nothing else is known."""
    (tmp_path / "token").write_text("wrong")
    (instance,) = instances
    instance["auth_token"]["reader"]["path"] = str(tmp_path / "token")
    with pytest.raises(Exception, match="401"):
        dd_run_check(check_of(instance))
    aggregator.assert_service_check("tasker.health.live", status=0)
    aggregator.assert_service_check("tasker.health.ready", status=3)
