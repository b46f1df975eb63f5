"""The metrics of a real server process, read by the official parsers."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from dbos_tables import empty_engine
from served import PATIENCE_SECONDS, served
from server import wait_until

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
TOKEN = "canary-of-the-scraper"


@pytest.fixture
def engine(tmp_path):
    """File of a database with the tables of DBOS and nothing in them."""
    return empty_engine(tmp_path / "orders.sqlite")


def variables_of(file, **more):
    """Return the environment of a server that reads the engine in *file*."""
    url = f"sqlite:///{file}"
    return {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": "dbos", **more}


def scrape(server, accept="", token=None, method="GET"):
    """Return the response of *server* to a scraper."""
    headers = {"Accept": accept or "*/*", **({"Authorization": f"Bearer {token}"} if token else {})}
    url = server.url.removesuffix("/health") + "/metrics"
    return httpx.request(method, url, headers=headers, timeout=PATIENCE_SECONDS)


def told(response, parse=parse_text):
    """Return the samples of *response* by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(response.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("directory", ["", "here", "nowhere"])
def test_a_served_process_is_scraped_in_both_formats(engine, tmp_path, directory):
    """The figures are those of its status; that there might be other processes behind the port changes none of them."""
    multiprocess = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / directory)} if directory else {}
    (tmp_path / "here").mkdir()
    with served(**variables_of(engine, **multiprocess)) as server:
        text, openmetrics, head = scrape(server), scrape(server, OPENMETRICS), scrape(server, method="HEAD")
        status = server.get("status").json()["system_health"]
        assert text.status_code == openmetrics.status_code == head.status_code == 200
        assert head.content == b""
        assert head.headers["content-type"] == text.headers["content-type"]
        samples, same = told(text), told(openmetrics, parse_openmetrics)
        assert {name for name, *_ in samples} == {name for name, *_ in same}
        assert samples["tasker_total_tasks",] == status["total_tasks"] == 0
        assert samples["tasker_health_check_state", ("check", "database"), ("state", "ok")] == 1
        assert samples["tasker_health_source_readable", ("source", "shop")] == 1
        assert ("tasker_health_blocked_tasks",) not in samples  # DBOS cannot tell
        assert samples["tasker_health_event_loop_lag_seconds",] >= 0
        assert samples["tasker_health_guard_restarts_total",] == 0
    left = [*tmp_path.glob("here/*.json"), *tmp_path.glob("nowhere/*.json")]
    assert len(left) == bool(directory)


def test_figures_follow_the_engine_and_its_loss(engine):
    """A task shows in the next reading; when the tables are gone it is still 200 and says so."""
    soon = {"TASKER_HEALTH__CACHE_DURATION_SECONDS": "0.1", "TASKER_HEALTH__STATUS_MAX_STALE_SECONDS": "1"}
    with served(**variables_of(engine, **soon)) as server:
        connection = sqlite3.connect(engine)
        connection.execute(
            "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at)"
            " VALUES ('one', 'ENQUEUED', 'order', 0, 0)"
        )
        connection.commit()
        pending = ("tasker_health_tasks", ("state", "pending"))
        wait_until(lambda: told(scrape(server))[pending] == 1, "the task is told")
        connection.execute("DROP TABLE dbos_migrations")
        connection.commit()
        connection.close()
        lost = ("tasker_health_status", ("status", "unhealthy"))
        wait_until(lambda: told(scrape(server))[lost] == 1, "the loss is told")
        response = scrape(server)
        assert response.status_code == 200
        assert told(response)["tasker_health_source_errors_total", ("reason", "missing"), ("source", "shop")] >= 1
        assert server.get("status").status_code == 503


def test_the_token_may_come_from_a_file(engine, tmp_path):
    """As secrets are mounted; who has it reads, nobody else, and it stands in neither answer nor log."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    access = {"TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token"}
    file = {"TASKER_EXPORTERS__PROMETHEUS__TOKEN_FILE": str(tmp_path / "token")}
    with served(**variables_of(engine, **access, **file)) as server:
        answers = [scrape(server, token=token) for token in (None, "wrong", TOKEN)]
        assert [answer.status_code for answer in answers] == [401, 401, 200]
        assert told(answers[2])["tasker_health_authentication_failures_total",] == 2
        assert all(TOKEN not in answer.text for answer in answers)
        assert server.get("status").status_code == 200
        assert TOKEN not in server.log


def test_a_guard_that_was_started_again_is_counted(engine):
    """Killed, it is there again within moments, and the metrics say that it was."""
    with served(**variables_of(engine)) as server:
        (guard,) = children_of(server.process.pid)
        os.kill(guard, signal.SIGKILL)
        restarts = ("tasker_health_guard_restarts_total",)
        wait_until(lambda: told(scrape(server))[restarts] == 1, "the restart is counted")


def children_of(process):
    """Return the processes that *process* has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if re.search(rf"^PPid:\t{process}$", text, re.MULTILINE):
            found.append(int(status.parent.name))
    return found
