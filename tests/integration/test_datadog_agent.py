"""A served process tells an Agent by DogStatsD, and an Agent's check reads the same from it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import canary
from dbos_tables import empty_engine
from dogstatsd import Agent
from served import PATIENCE_SECONDS, served
from server import missing_part

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "tests" / "datadog_agent" / "agent_check.py"
TOKEN = "TASKER_EXPORTERS__PROMETHEUS__TOKEN_FILE"
PYTHON = ROOT / ".venv-datadog-agent" / "bin" / "python"


@pytest.fixture
def engine(tmp_path):
    """File of a database with the tables of DBOS and two workflows in them."""
    file = empty_engine(tmp_path / "orders.sqlite")
    connection = sqlite3.connect(file)
    for name, status in (("one", "ENQUEUED"), ("two", "ERROR")):
        connection.execute(
            "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at)"
            " VALUES (?, ?, 'order', 0, 0)",
            (name, status),
        )
    connection.commit()
    connection.close()
    return file


@pytest.fixture
def variables(engine, tmp_path):
    """Settings of a server that is told about by DogStatsD every second, and whose metrics need a token."""
    (tmp_path / "token").write_text(canary.secret("scraper"))
    return {
        "TASKER_DATABASE__URL": f"sqlite:///{engine}",
        "TASKER_SOURCES__SHOP__KIND": "dbos",
        "TASKER_GUARD__ENABLED": "false",
        "TASKER_HEALTH__SERVICE_NAME": "Orders & Co",
        "TASKER_EXPORTERS__DATADOG__ENABLED": "true",
        "TASKER_EXPORTERS__DATADOG__INTERVAL_SECONDS": "1",
        "TASKER_EXPORTERS__DATADOG__TAGS": "env:test,team:orders",
        "TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token",
        TOKEN: str(tmp_path / "token"),
    }


@pytest.fixture
def agent(tmp_path):
    """Somebody who listens at a socket file."""
    agent = Agent(tmp_path / "agent.socket")
    yield agent
    agent.close()


def is_whole(lines):
    """Whether *lines* have a whole push: what is told last, and before that what is told first."""
    names = [line.name for line in lines if line.type != "_sc"]
    return "tasker.health.check" in {line.name for line in lines if line.type == "_sc"} and (
        "tasker.health.deliveries.count" in names
    )


def deployed(server, variables, folder):
    """Write the check and its configuration by the command, for *server*; return what it has written."""
    address = re.search(r"//([^/]+)/", server.url)[1]
    words = ["deploy", "datadog", "--server", address, "--output", str(folder)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    done = subprocess.run(
        [sys.executable, "-m", "tasker_health", *words, "--token-file", variables[TOKEN]],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts = [path.read_text() for path in folder.rglob("*.*") if path.is_file()]
    canary.look("what deploy datadog wrote", *texts)


def harnessed(folder, told):
    """Run the Agent's harness on what lies in *folder*; return what the check has told."""
    if not PYTHON.exists():
        missing_part("the Agent's check is not tried: ./dev setup makes .venv-datadog-agent")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "PYTEST", "PYTHON"))}
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "--noconftest", "-c", os.devnull, "--rootdir", HARNESS.parent, HARNESS],
        cwd=folder,
        # `service` and `env` are the operator's own tags; the harness wants none of them from an integration.
        env={**clean, "AGENT_FOLDER": str(folder), "AGENT_TOLD": str(told), "DDEV_SKIP_GENERIC_TAGS_CHECK": "true"},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_SECONDS,
        check=False,
    )
    canary.look("the Agent's harness", done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout, done.stdout
    return json.loads(told.read_text())


def own(tags):
    """Return *tags* without those that only one of the two ways has."""
    return frozenset(tag for tag in tags if not tag.startswith(("endpoint:", "tasker_health_version:")))


def test_both_ways_tell_the_same(variables, agent, tmp_path):
    """Names, types, tags and the figures of the status; service checks, too."""
    folder = tmp_path / "agent"
    folder.mkdir()
    with served(**variables, TASKER_EXPORTERS__DATADOG__ADDRESS=agent.address) as server:
        lines = agent.read_until(is_whole)
        deployed(server, variables, folder)
        told = harnessed(folder, tmp_path / "told.json")
        failures = [line for line in server.log.splitlines() if "exporter" in line]
        assert all("(timeout)" in line for line in failures), failures  # on a busy machine; what arrives is compared
    pushed = {(line.name, own(line.tags)): line for line in lines if line.type != "_sc"}
    scraped = {
        (name, own(tags)): (kind, value) for kind, name, tags, value in told["metrics"] if name.startswith("tasker.")
    }
    assert pushed.keys() == scraped.keys()
    kinds = {"gauge": "g", "monotonic_count": "c"}
    assert {key: line.type for key, line in pushed.items()} == {key: kinds[kind] for key, (kind, _) in scraped.items()}
    everything = frozenset({"env:test", "team:orders", "service:orders___co"})
    assert all(everything <= tags for _, tags in pushed)
    for name, value in {"tasker.tasks.total": 2, "tasker.tasks.pending": 1, "tasker.tasks.failed": 1}.items():
        assert pushed[name, everything].value == scraped[name, everything][1] == value
    checks = {(line.name, own(line.tags)): line.value for line in lines if line.type == "_sc"}
    assert checks == {
        (name, own(tags)): status for name, status, tags in told["checks"] if not name.endswith("openmetrics.health")
    }
