"""Prometheus' files: valid, tried by promtool, routed by amtool, and no figure of the fleet is ever summed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import canary
from command import run
from fakes import settings_of
from promql import aggregations, metrics
from server import missing_part
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.prometheus import render, watch_of
from tasker_health.deploy.rules import Windows, duration, windows_of
from tasker_health.deploy.rules.tasks import burnt
from tasker_health.deploy.writing import write
from tasker_health.errors import ConfigurationError, SettingsError

MONITORING = Path(__file__).parents[3] / "docs" / "monitoring.md"
PATIENCE_SECONDS = 120
HOSTILE = 'the "$1" {{ .Values }} on\'\\'
"""A name that is not one in YAML, in PromQL and in Go's templates."""


def files_of(servers=(), groups=None, **options):
    """Return the files for these groups of settings and *options*."""
    settings = settings_of(**(groups or {}))
    plan = plan_of(settings)
    targets = tuple(each.address for each in backends_of(servers, plan))
    return render(plan, settings, watch_of(plan, settings, targets=targets, **options))


def tool(*words):
    """Return the finished tool of Prometheus or Alertmanager."""
    if shutil.which(words[0]) is None:
        missing_part(f"{words[0]} is not here: apt-get install prometheus prometheus-alertmanager")
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def assert_well(*words):
    """The tool finds nothing."""
    done = tool(*words)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def rules_in(files):
    """Return all rules of *files*."""
    return [rule for group in yaml.safe_load(files["prometheus/rules.yml"])["groups"] for rule in group["rules"]]


@pytest.fixture
def written(tmp_path):
    """Write the files for settings and options, and return where."""

    def make(*arguments, **options):
        write(files_of(*arguments, **options), tmp_path, force=True)
        return tmp_path

    return make


SHORT = {"health": {"metrics_window_seconds": 20, "cache_duration_seconds": 1}}
STRICT = {
    "health": {
        "service_name": HOSTILE,
        "degraded_failure_ratio": 0.5,
        "degraded_min_settled_tasks": 1,
        "degraded_blocked_tasks": 7,
        "degraded_connection_ratio": 1,
        "status_max_stale_seconds": 0.5,
        "status_timeout_seconds": 40,
    }
}
ANYTHING_GOES = {"health": {"degraded_failure_ratio": 1, "metrics_window_seconds": 86_400}}


@pytest.mark.parametrize(
    ("groups", "options"),
    [({}, {}), (SHORT, {"interval_seconds": 2, "for_seconds": 2}), (STRICT, {"job": "on"}), (ANYTHING_GOES, {})],
    ids=["default", "short", "strict", "anything goes"],
)
def test_prometheus_and_alertmanager_take_them(groups, options, written):
    """Also of hostile names, and of thresholds at their ends; the rules do what their own test says."""
    folder = written(["10.0.0.5:8080", "[2001:db8::5]:8080"], groups, **options)
    assert_well("promtool", "check", "config", str(folder / "prometheus/prometheus.yml"))
    assert_well("promtool", "check", "rules", "--lint-fatal", str(folder / "prometheus/rules.yml"))
    assert_well("promtool", "test", "rules", str(folder / "prometheus/rules_test.yml"))
    assert_well("amtool", "check-config", str(folder / "alertmanager/alertmanager.yml"))


def test_the_test_of_the_rules_fails_where_a_rule_is_wrong(written):
    """A sum over the fleet, a threshold that is another, an alert that cannot fire: each is seen."""
    rules = written() / "prometheus/rules.yml"
    text = rules.read_text()
    for right, wrong in (
        ("max by (namespace, job, state) (tasker", "sum by (namespace, job, state) (tasker"),
        ('stuck_tasks{job="tasker"}) > 0', 'stuck_tasks{job="tasker"}) > 1'),
        ("status_age_seconds{", "status_age_minutes{"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    rules.write_text(text)
    done = tool("promtool", "test", "rules", str(rules.with_name("rules_test.yml")))
    assert done.returncode == 1
    expected, got = re.findall(r"exp: (.*)\n +got: (.*)", done.stdout + done.stderr)[0]
    assert (expected.split("} ")[1], got.split("} ")[1]) == ("1E+02", "3E+02")
    silent = set()
    for expected, got in re.findall(r"exp: (.*)\n +got: (.*)", done.stdout + done.stderr):
        silent |= set(re.findall(r'alertname="(\w+)"', expected)) - set(re.findall(r'alertname="(\w+)"', got))
    assert silent == {"TaskerHealthTasksStuck", "TaskerHealthFactsStale"}


def test_what_is_told_of_an_alert_has_its_figures(written):
    """Three replicas tell the same: one alert, with the ratio, the limit and where to read on."""
    folder = written()
    replicas = [f'{{job="tasker", instance="{name}"}}' for name in "abc"]
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": f"{name}{replica}", "values": f"{value}+0x20"}
                    for replica in replicas
                    for name, value in (("tasker_health_failure_ratio", 0.25), ("tasker_health_settled_tasks", 40))
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "5m",
                        "alertname": "TaskerHealthFailureRatio",
                        "exp_alerts": [
                            {
                                "exp_labels": {"job": "tasker", "service": "tasker", "severity": "warning"},
                                "exp_annotations": {
                                    "summary": "Too many tasks fail",
                                    "description": "25% of the tasks of tasker that were settled within 1h have failed;"
                                    " 5% is borne.",
                                    "runbook_url": "docs/monitoring.md#taskerhealthfailureratio",
                                },
                            }
                        ],
                    },
                    {"eval_time": "1m", "alertname": "TaskerHealthFailureRatio", "exp_alerts": []},
                ],
            }
        ],
    }
    trial = folder / "prometheus" / "trial.yml"
    trial.write_text(yaml.safe_dump(document))
    assert_well("promtool", "test", "rules", str(trial))


def test_a_cleanup_of_the_engine_pages_nobody(written):
    """Old tasks are deleted while some fail: the totals fall, the window knows better, and nothing burns."""
    folder = written()
    series = {
        'tasker_health_tasks{job="tasker", instance="a", state="failed"}': "100+1x100",
        'tasker_health_tasks{job="tasker", instance="a", state="completed"}': "90000-500x100",
        'tasker_health_failure_ratio{job="tasker", instance="a"}': "0.01+0x100",
        'tasker_health_settled_tasks{job="tasker", instance="a"}': "4000+0x100",
        'tasker_health_ready{job="tasker", instance="a"}': "1+0x100",
    }
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "20m", "exp_samples": []},
                    {
                        "expr": "job:tasker_health_failure_ratio:short",
                        "eval_time": "20m",
                        "exp_samples": [{"labels": 'job:tasker_health_failure_ratio:short{job="tasker"}', "value": 1}],
                    },
                ],
            }
        ],
    }
    trial = folder / "prometheus" / "trial.yml"
    trial.write_text(yaml.safe_dump(document))
    assert_well("promtool", "test", "rules", str(trial))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=TaskerHealthAbsent", "severity=critical"], "pages"),
        (["alertname=TaskerHealthTasksStuck", "severity=warning"], "warnings"),
        (["alertname=SomebodyElses"], "warnings"),
    ],
)
def test_critical_alerts_page(labels, receiver, written):
    """And everything else is read later, also what is not ours."""
    config = str(written() / "alertmanager/alertmanager.yml")
    assert_well(
        "amtool", "config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}", *labels
    )


def test_what_is_held_back_and_what_holds_it_back_are_alerts():
    """No name of a rule is misspelt in the routes."""
    files = files_of()
    names = {rule["alert"] for rule in rules_in(files) if "alert" in rule}
    for rule in yaml.safe_load(files["alertmanager/alertmanager.yml"])["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            told = matcher.split('"')[1]
            assert told == "TaskerHealth.+" or set(told.split("|")) <= names, matcher


def test_every_alert_says_how_bad_it_is_and_where_to_read_on():
    """A severity, a service, a sentence, a figure or a name, and a paragraph of the page on monitoring."""
    alerts = [rule for rule in rules_in(files_of(runbooks="https://docs.example.org/m/")) if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 20
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["labels"]["service"] == "tasker"
        assert rule["annotations"]["summary"]
        assert "{{ $" in rule["annotations"]["description"], rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"https://docs.example.org/m/#{rule['alert'].lower()}"


def _expressions(files):
    """Return every expression of rules and panels, by where it stands."""
    yield from ((rule.get("alert") or rule["record"], rule["expr"]) for rule in rules_in(files))
    for panel in json.loads(files["grafana/dashboard.json"])["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


def test_no_figure_of_the_fleet_is_summed():
    """Each of three replicas tells it: only `max by` may stand before it, and what is recorded may be summed."""
    of_fleet = set(re.findall(r"^\| `(tasker_\w+)` \| \w+ \| [^|]*\| fleet \|", MONITORING.read_text(), re.MULTILINE))
    assert len(of_fleet) > 25
    seen = set()
    for place, expression in _expressions(files_of()):
        for operator, argument in aggregations(expression):
            told = metrics(argument) & of_fleet
            assert not told or operator == "max", (place, expression, "is told once by every replica")
            seen |= told
    assert {"tasker_health_tasks", "tasker_health_failure_ratio", "tasker_health_blocked_tasks"} <= seen


@pytest.mark.parametrize(
    ("expression", "operators"),
    [
        ('sum by (x) (tasker_a{b="max(tasker_c)"})', ["sum"]),
        ("sum(max by (x) (tasker_a))", ["max"]),
        ("sum(max by (x) (tasker_a) + tasker_a)", ["max", "sum"]),
        ("sum(tasker_a) / max(tasker_a) + tasker_a", ["sum", "max", None]),
        ("sum by (x) (job:tasker_a:max)", []),
    ],
)
def test_a_figure_is_seen_in_the_aggregation_that_it_stands_in(expression, operators):
    """In the innermost one: what `max by` has made of it may be summed."""
    assert [operator for operator, argument in aggregations(expression) if metrics(argument)] == operators


@pytest.mark.parametrize(
    ("groups", "options", "expected"),
    [
        ({}, {}, ("15s", None, "10s")),
        ({"health": {"status_timeout_seconds": 40}}, {}, ("15s", "45s", "45s")),
        ({"health": {"status_timeout_seconds": 40}}, {"interval_seconds": 60}, ("60s", None, "45s")),
        ({}, {"interval_seconds": 1}, ("1s", None, "1s")),
    ],
)
def test_a_scrape_waits_longer_than_a_status_takes(groups, options, expected):
    """It is begun less often, then; unless the interval was asked for: then it waits no longer than that."""
    config = yaml.safe_load(files_of(groups=groups, **options)["prometheus/prometheus.yml"])
    (scrape,) = config["scrape_configs"]
    told = config["global"]["scrape_interval"], scrape.get("scrape_interval"), scrape["scrape_timeout"]
    assert told == expected


def test_prometheus_says_who_it_is_by_a_file():
    """A token is never written."""
    token = canary.secret("metrics")
    groups = {"exporters": {"prometheus": {"access": "token", "token": token}}}
    for options, path in (({}, "/run/secrets/exporters_prometheus_token"), ({"credentials_file": "a b"}, "a b")):
        files = files_of(groups=groups, **options)
        (scrape,) = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]
        assert scrape["authorization"] == {"credentials_file": path}
        assert token not in "".join(files.values())


def test_windows_follow_that_of_the_status():
    """An hour, 5 and 30 minutes and six hours; never shorter than a few scrapes and what a cache holds."""
    usual = windows_of(settings_of().health, 15)
    assert usual == Windows(3600, 1800, 300, 18_000, 300)
    assert (usual.long, usual.half, usual.short, usual.fivefold) == ("1h", "30m", "5m", "5h")
    short = windows_of(settings_of(**SHORT).health, 2)
    assert short == Windows(20, 10, 9, 100, 20)
    assert [duration(seconds) for seconds in (0, 1, 90, 120, 7200)] == ["0s", "1s", "90s", "2m", "2h"]


def test_a_burn_rate_can_be_reached():
    """14.4 times 10 % would be more failures than tasks."""
    assert burnt(0.05, 14.4) == pytest.approx(0.72)
    assert burnt(0.1, 14.4) == 0.9
    assert burnt(0.95, 14.4) == 0.95


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--job", "a b"), "--job 'a b': at most 200 of"),
        (("--interval", "0"), "--interval 0: 1 to 3600 s"),
        (("--for-seconds", "-1"), "--for-seconds -1: 0 to 86400 s"),
        (("--alertmanager", "http://a:1"), "--alertmanager 'http://a:1': HOST:PORT"),
        (("--prometheus", "a"), "--prometheus 'a': HOST:PORT"),
        (("--runbooks", "a b"), "--runbooks 'a b': a URL"),
        (("--runbooks", "javascript:1"), "--runbooks 'javascript:1': a URL"),
        (("--server", "a"), "--server 'a': HOST:PORT"),
    ],
)
def test_nothing_is_written_on_bad_input(options, words, tmp_path):
    """One line names the option, the value and what is allowed."""
    done = run("deploy", "prometheus", "--output", str(tmp_path / "here"), *options, TASKER_GUARD__PORT="8081")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "here").exists()


def test_without_metrics_there_is_nothing_to_watch():
    """They are switched off: that is the setting to change."""
    with pytest.raises(SettingsError, match=r"exporters\.prometheus\.enabled"):
        files_of(groups={"exporters": {"prometheus": {"enabled": False}}})


def test_a_job_is_no_expression():
    """It stands in PromQL, in YAML and in JSON."""
    with pytest.raises(ConfigurationError, match="--job"):
        files_of(job='x"} or vector(1)')


def test_the_command_writes_what_is_rendered(tmp_path):
    """All files, for the settings in force."""
    done = run("deploy", "prometheus", "--output", str(tmp_path), TASKER_GUARD__PORT="8081")
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in Path(tmp_path).rglob("*") if path.is_file()}
    assert found == files_of()
