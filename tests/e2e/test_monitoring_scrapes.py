"""A real Prometheus scrapes us: in both formats, when we are unhealthy, and when a source hangs."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass

import httpx
import pytest
from dbos._migration import sqlite_migrations

from contract.tasker_backend import TaskerOnPostgres
from prometheus_servers import PrometheusServer, configuration, run
from scrape_recorder import ScrapeRecorder
from served import Served, served
from server import wait_until
from servers import PostgresServer

TEXT = "text/plain;version=0.0.4"
STATUS_SECONDS, SCRAPE_SECONDS, STALE_SECONDS = 0.5, 3, 2
HURRIED = {
    "TASKER_HEALTH__CACHE_DURATION_SECONDS": "0.2",
    "TASKER_HEALTH__STATUS_TIMEOUT_SECONDS": str(STATUS_SECONDS),
    "TASKER_HEALTH__STATUS_MAX_STALE_SECONDS": str(STALE_SECONDS),
}


@dataclass
class Scene:
    """Servers of ours and the Prometheus that scrapes them.

    Attributes:
        well: Reads an engine in SQLite.
        unhealthy: Reads an engine whose tables are not there.
        hanging: Reads an engine in `postgres`.
        asked: What is said between Prometheus and `well`, as Prometheus asks, and asked for text.
    """

    well: Served
    unhealthy: Served
    hanging: Served
    postgres: PostgresServer
    asked: dict[str, ScrapeRecorder]
    prometheus: PrometheusServer


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """All of them, running and scraped."""
    folder = tmp_path_factory.mktemp("scraped")
    empty = folder / "empty.sqlite"
    empty.touch()
    with contextlib.ExitStack() as running:
        postgres = PostgresServer()
        running.callback(postgres.end)
        engine = TaskerOnPostgres(postgres)
        engine.write(engine.lively, engine.now_ms())
        sources = {
            "well": ("dbos", f"sqlite:///{_engine(folder / 'engine.sqlite')}"),
            "unhealthy": ("dbos", f"sqlite:///{empty}"),
            "hanging": ("tasker", engine.url),
        }
        servers = {name: running.enter_context(served(**_variables(*source))) for name, source in sources.items()}
        asked = {
            name: running.enter_context(ScrapeRecorder(_address(servers["well"]), accept))
            for name, accept in (("openmetrics", None), ("text", TEXT))
        }
        jobs = {name: {"targets": [recorder.address]} for name, recorder in asked.items()}
        patient = {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"}
        jobs["unhealthy"] = {"targets": [_address(servers["unhealthy"])]}
        jobs["hanging"] = {"targets": [_address(servers["hanging"])], **patient}
        prometheus = PrometheusServer(configuration(jobs))
        running.callback(prometheus.end)
        prometheus.wait_for_scrapes(len(jobs))
        yield Scene(**servers, postgres=postgres, asked=asked, prometheus=prometheus)


def test_prometheus_asks_for_openmetrics_and_gets_the_same_series_as_in_text(scene):
    """What it prefers is what it gets, and whichever it gets, it keeps the same series under the same names."""
    openmetrics, text = scene.asked["openmetrics"].scrapes[-1], scene.asked["text"].scrapes[-1]
    assert openmetrics.accept == text.accept
    assert openmetrics.accept.startswith("application/openmetrics-text")
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.content_type.startswith("text/plain; version=0.0.4")
    found = {
        job: {
            tuple(sorted(series["metric"].items() - {("job", job), ("instance", recorder.address)}))
            for series in scene.prometheus.query(f'{{job="{job}"}}')
        }
        for job, recorder in scene.asked.items()
    }
    assert found["openmetrics"] == found["text"]
    names = {dict(series)["__name__"] for series in found["text"]}
    assert {"tasker_total_tasks", "tasker_health_build_info", "tasker_health_check_duration_seconds_bucket"} <= names
    assert not [name for name in names if name.endswith("_created")]  # each would be a series more
    counted = scene.prometheus.value('scrape_samples_scraped{job="openmetrics"}')
    assert counted == len([each for each in found["text"] if dict(each)["__name__"].startswith("tasker_")])


def test_it_knows_type_and_help_of_everything(scene):
    """None of our series is of an unknown type or without a word of explanation."""
    target = '{job="openmetrics"}'
    known = scene.prometheus.metadata(target)
    told = {name: each for name, each in known.items() if name.startswith("tasker_")}
    assert len(told) > 30
    assert not {name for name, each in told.items() if each["type"] == "unknown" or not each["help"]}


def test_promtool_finds_nothing_to_say(scene):
    """Its linter knows the conventions for names, units, types and help; the guide's names are as they are."""
    for server in (scene.well, scene.unhealthy, scene.hanging):
        answer = httpx.get(f"http://{_address(server)}/tasker/metrics", headers={"Accept": TEXT})
        checked = run("promtool", "check", "metrics", text=answer.text)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_unhealthy_is_no_failed_scrape(scene):
    """`/health/status` answers 503, and the scrape 200: `up` tells of the process, and of nothing else."""
    assert scene.unhealthy.get("status").status_code == 503
    told = scene.prometheus.query('tasker_health_status{job="unhealthy",status="unhealthy"}')
    assert [series["value"][1] for series in told] == ["1"]
    assert scene.prometheus.value('min_over_time(up{job="unhealthy"}[1m])') == 1
    assert scene.prometheus.query('tasker_total_tasks{job="unhealthy"}') == []  # unknown, so neither 0 nor NaN


def test_a_source_that_hangs_costs_a_scrape_its_deadline_and_is_told_as_stale(scene):
    """`up` stays 1, the last figures are told with their growing age, and a scrape ends before it is given up."""
    hanging = '{job="hanging"}'
    total = scene.prometheus.value(f"tasker_total_tasks{hanging}")
    assert total > 0
    scene.postgres.pause()
    try:
        wait_until(
            lambda: scene.prometheus.query(f"tasker_health_status_age_seconds{hanging} > {STALE_SECONDS}"),
            "the facts are told to be old",
        )
        wait_until(
            lambda: scene.prometheus.query(f"tasker_health_source_readable{hanging} == 0"),
            "it is told to be unreadable",
        )
        longest = scene.prometheus.value(f"max_over_time(scrape_duration_seconds{hanging}[1m])")
        print(f"longest scrape: {longest:.2f} s, with a deadline of {STATUS_SECONDS} s")  # noqa: T201 -- a figure to look at
        assert scene.prometheus.value(f"min_over_time(up{hanging}[1m])") == 1
        assert scene.prometheus.value(f"tasker_total_tasks{hanging}") == total
    finally:
        scene.postgres.resume()
    wait_until(
        lambda: scene.prometheus.query(f"tasker_health_status_age_seconds{hanging} < {STALE_SECONDS}"),
        "the facts are young again",
    )


def _variables(kind, url):
    return {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": kind, **HURRIED}


def _address(server):
    return httpx.URL(server.url).netloc.decode()


def _engine(file):
    """Return *file* as a database with the tables of DBOS and nothing in them."""
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY)")
    connection.executescript(";".join(sqlite_migrations))
    connection.execute("INSERT INTO dbos_migrations VALUES (?)", (len(sqlite_migrations),))
    connection.commit()
    connection.close()
    return file
