"""A real Prometheus scrapes a fleet of ours: formats, figures, rules, panels, unhealthy ones and sources that hang."""

from __future__ import annotations

import contextlib
import time

import httpx
import pytest

from prometheus_servers import run
from server import wait_until
from watched_fleet import INTERVAL_SECONDS, JOB, REPLICAS, STATUS_SECONDS, TEXT, watched_fleet

OF_FLEET = f'{{job="{JOB}"}}'
WITHOUT_DATA = {
    "tasker_health_source_errors_total": "no reading has failed",
    "tasker_health_check_state": "every check is ok",
    "tasker_health_deliveries_dropped_total": "nothing was dropped",
    "tasker_health_source_drift": "the first verification comes later",
}
"""What panels ask for and may be empty here, and why: the first three are shown only where they are above 0."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Three replicas and others, scraped."""
    with watched_fleet(tmp_path_factory.mktemp("watched")) as watched:
        yield watched


def test_prometheus_asks_for_openmetrics_and_gets_the_same_series_as_in_text(fleet):
    """What it prefers is what it gets, and whichever it gets, it keeps the same series under the same names."""
    openmetrics, text = fleet.asked["openmetrics"].scrapes[-1], fleet.asked["text"].scrapes[-1]
    assert openmetrics.accept == text.accept
    assert openmetrics.accept.startswith("application/openmetrics-text")
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.content_type.startswith("text/plain; version=0.0.4")
    found = {}

    def are_the_same():
        found.update({job: series_of(fleet.prometheus, job, each.address) for job, each in fleet.asked.items()})
        return found["openmetrics"] == found["text"]

    wait_until(are_the_same, "both have been scraped with the first facts")
    names = {dict(series)["__name__"] for series in found["text"]}
    assert {"tasker_total_tasks", "tasker_health_build_info", "tasker_health_check_duration_seconds_bucket"} <= names
    assert not [name for name in names if name.endswith("_created")]  # each would be a series more
    scraped = fleet.prometheus.value('scrape_samples_scraped{job="openmetrics"}')
    assert scraped == len([series for series in found["text"] if dict(series)["__name__"].startswith("tasker_")])


def test_it_knows_type_and_help_of_everything(fleet):
    """None of our series is of an unknown type or without a word of explanation."""
    known = fleet.prometheus.metadata
    wait_until(lambda: len(known(OF_FLEET)) > 30, "everything is told: the first scrape may be before the first facts")
    told = {name: each for name, each in known(OF_FLEET).items() if name.startswith("tasker_")}
    assert len(told) > 30
    assert not {name for name, each in told.items() if each["type"] == "unknown" or not each["help"]}


def test_promtool_finds_nothing_to_say(fleet):
    """Its linter knows the conventions for names, units, types and help; the guide's names are as they are."""
    for address in (
        fleet.replicas[0],
        *(httpx.URL(each.url).netloc.decode() for each in (fleet.single, fleet.unhealthy)),
    ):
        answer = httpx.get(f"http://{address}/tasker/metrics", headers={"Accept": TEXT})
        checked = run("promtool", "check", "metrics", text=answer.text)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_unhealthy_is_no_failed_scrape(fleet):
    """`/health/status` answers 503, and the scrape 200: `up` tells of the process, and of nothing else."""
    assert fleet.unhealthy.get("status").status_code == 503
    assert fleet.prometheus.value('tasker_health_status{job="unhealthy",status="unhealthy"}') == 1
    assert fleet.prometheus.value('up{job="unhealthy"}') == 1
    assert fleet.prometheus.query('tasker_total_tasks{job="unhealthy"}') == []  # unknown, so neither 0 nor NaN


def test_every_replica_tells_the_whole_fleet(fleet):
    """`max by` is the truth, `sum` would be three times that; and it follows what the engine does."""
    prometheus = fleet.prometheus
    for more in (False, True):
        if more:
            fleet.engine.write(fleet.engine.lively, fleet.engine.now_ms())
        total = len(fleet.engine.raw()["tasker_tasks"])
        assert total > 0
        wait_until(lambda: prometheus.value(f"sum(tasker_total_tasks{OF_FLEET})") == REPLICAS * total, "all tell it")  # noqa: B023 -- called now
        assert prometheus.value(f"count(tasker_total_tasks{OF_FLEET})") == REPLICAS
        assert prometheus.value(f"max by (job) (tasker_total_tasks{OF_FLEET})") == total
        recorded = f"job:tasker_health_total_tasks:max{OF_FLEET}"
        wait_until(lambda: prometheus.value(recorded) == total, "it is recorded")  # noqa: B023 -- called now
        failed = f"max(tasker_failed_tasks{OF_FLEET}) / max(tasker_total_tasks{OF_FLEET})"
        assert prometheus.value(f"job:tasker_health_failed_tasks:ratio{OF_FLEET}") == prometheus.value(failed) > 0


def test_every_rule_is_evaluated_and_every_record_has_data(fleet):
    """No expression is wrong, none joins what cannot be joined, and what is recorded is there."""
    rules = wait_until(
        lambda: all(rule["health"] == "ok" for rule in fleet.prometheus.rules()) and fleet.prometheus.rules(),
        f"every rule is well: {[rule for rule in fleet.prometheus.rules() if rule.get('lastError')]}",
    )
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    alerts = {rule["name"]: rule["query"] for rule in rules if rule["type"] == "alerting"}
    assert len(recorded) > 5
    assert len(alerts) > 15
    for expression in alerts.values():
        fleet.prometheus.query(expression)
    fleet.engine.write(fleet.engine.lively, fleet.engine.now_ms())  # what is made of growth has data when there is some
    assert unanswered(fleet.prometheus, recorded) == set()


def test_every_panel_of_the_dashboard_has_data(fleet):
    """Grafana asks these queries, with its variables filled in."""
    queries = [asked(target["expr"]) for panel in fleet.dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 40
    excused = {query for query in queries if any(name in query for name in WITHOUT_DATA)}
    assert unanswered(fleet.prometheus, set(queries) - excused) == set()
    assert [name for name in WITHOUT_DATA if not any(name in query for query in excused)] == []
    for query in excused:
        fleet.prometheus.query(query)


def test_a_source_that_hangs_costs_a_scrape_its_deadline_and_is_told_as_stale(fleet):
    """It is scraped all the while, the last figures are told with their growing age, and the alert about them fires."""
    prometheus = fleet.prometheus
    total = len(fleet.engine.raw()["tasker_tasks"])
    wait_until(lambda: prometheus.value(f"min(tasker_total_tasks{OF_FLEET})") == total, "all tell what is there")
    fleet.postgres.pause()
    paused = time.monotonic()
    try:
        wait_until(lambda: prometheus.alert_state("TaskerHealthFactsStale") == "firing", "the facts are told to be old")
        wait_until(
            lambda: prometheus.alert_state("TaskerHealthSourceUnreadable") == "firing", "it is told to be unreadable"
        )
        since = f"[{round(time.monotonic() - paused)}s]"
        # Not 1: a busy machine may miss one. If a scrape took as long as the source, there would be none.
        assert prometheus.value(f"min(avg_over_time(up{OF_FLEET}{since}))") > 0.5
        assert prometheus.value(f"max(tasker_total_tasks{OF_FLEET})") == total
        longest = prometheus.value(f"max(max_over_time(scrape_duration_seconds{OF_FLEET}{since}))")
        print(f"longest scrape: {longest:.2f} s; deadline of the status: {STATUS_SECONDS} s")  # noqa: T201 -- to look at
    finally:
        fleet.postgres.resume()
    wait_until(lambda: prometheus.alert_state("TaskerHealthFactsStale") == "inactive", "the facts are young again")


def test_replicas_that_are_gone_are_missed(fleet):
    """While one is left it tells the whole fleet's figures; when none is, that itself is an alert."""
    prometheus, total = fleet.prometheus, len(fleet.engine.raw()["tasker_tasks"])
    recorded = f"job:tasker_health_total_tasks:max{OF_FLEET}"
    wait_until(lambda: prometheus.alert_state("TaskerHealthFewReady") == "inactive", "enough of them are ready")
    for server in fleet.servers[1:]:
        assert server.stop() == 0
    wait_until(lambda: prometheus.alert_state("TaskerHealthFewReady") == "firing", "one of three is too few")
    assert prometheus.alert_state("TaskerHealthTargetDown") == "firing"
    assert prometheus.alert_state("TaskerHealthAbsent") == "inactive"
    assert prometheus.value(recorded) == total
    assert fleet.servers[0].stop() == 0
    wait_until(lambda: prometheus.alert_state("TaskerHealthAbsent") == "firing", "nobody is left")
    wait_until(lambda: prometheus.query(recorded) == [], "an unknown figure is absent")


def series_of(prometheus, job, address):
    """Return the series of *job*, whose only target is at *address*, without what tells it from other jobs."""
    own = {("job", job), ("instance", address)}
    found = prometheus.query(f'{{job="{job}", __name__!~"ALERTS.*"}}')
    return {tuple(sorted(series["metric"].items() - own)) for series in found}


def unanswered(prometheus, expressions):
    """Return which of *expressions* are not answered with data, however long one waits."""
    left = set(expressions)

    def all_answered():
        left.difference_update([expression for expression in left if prometheus.query(expression)])
        return not left

    with contextlib.suppress(pytest.fail.Exception):  # it is said better which ones
        wait_until(all_answered, "all are answered")
    return left


def asked(expression):
    """Return *expression* as Grafana asks it for all replicas."""
    variables = {"$job": JOB, "$instance": ".*", "$__rate_interval": f"{5 * INTERVAL_SECONDS}s"}
    for variable, value in variables.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression
