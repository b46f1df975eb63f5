"""Alertmanager does with the alerts what the file of `deploy prometheus` says: who is told, and what is held back."""

from __future__ import annotations

import pytest
import yaml

from command import run as command
from prometheus_servers import AlertmanagerServer, run
from server import wait_until
from webhook_receiver import WebhookReceiver


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The configuration as it is written."""
    folder = tmp_path_factory.mktemp("written")
    pace = ("--interval", "1")
    done = command("deploy", "prometheus", *pace, "--output", str(folder), TASKER_GUARD__PORT="8081")
    assert done.returncode == 0, done.stderr
    return folder / "alertmanager" / "alertmanager.yml"


@pytest.fixture
def receiver():
    """Who stands behind every receiver of the file, each under a path of its own."""
    with WebhookReceiver() as listening:
        yield listening


@pytest.fixture
def alertmanager(file, receiver):
    """The real one, whose receivers are filled."""
    configuration = yaml.safe_load(file.read_text())
    for each in configuration["receivers"]:
        each["webhook_configs"] = [{"url": receiver.url(f"/{each['name']}")}]
    server = AlertmanagerServer({"alertmanager.yml": yaml.safe_dump(configuration)})
    yield server
    server.end()


def alert(name, severity, service, **labels):
    """Return an alert as Prometheus tells it."""
    return {"labels": {"alertname": name, "severity": severity, "service": service, "job": service, **labels}}


@pytest.mark.parametrize(("severity", "receiver_name"), [("critical", "pages"), ("warning", "warnings")])
def test_amtool_finds_the_way(file, severity, receiver_name):
    """The tool that an operator has says the same as the file."""
    labels = ("alertname=TaskerHealthFewReady", f"severity={severity}", "service=orders")
    done = run(
        "amtool", "config", "routes", "test", f"--config.file={file}", f"--verify.receivers={receiver_name}", *labels
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_critical_pages_and_warnings_go_elsewhere_and_what_follows_is_held_back(alertmanager, receiver):
    """What follows from something worse of the same service is not told beside it; another service's is."""
    alertmanager.send(
        alert("TaskerHealthFailureBurnFast", "critical", "orders"),
        alert("TaskerHealthFailureRatio", "warning", "orders"),
        alert("TaskerHealthFailureRatio", "warning", "invoices"),
        alert("TaskerHealthAbsent", "critical", "gone"),
        alert("TaskerHealthTasksStuck", "warning", "gone"),
        alert("TaskerHealthTargetDown", "warning", "some", instance="one:80"),
        alert("TaskerHealthNotReady", "warning", "some", instance="one:80"),
        alert("TaskerHealthNotReady", "warning", "some", instance="two:80"),
    )
    expected = {
        ("/pages", "TaskerHealthFailureBurnFast", "orders", None),
        ("/warnings", "TaskerHealthFailureRatio", "invoices", None),
        ("/pages", "TaskerHealthAbsent", "gone", None),
        ("/warnings", "TaskerHealthTargetDown", "some", "one:80"),
        ("/warnings", "TaskerHealthNotReady", "some", "two:80"),
    }
    wait_until(lambda: told(receiver) >= expected, "the others are told")
    assert told(receiver) == expected
    held_back = [each["labels"] for each in alertmanager.alerts() if each["status"]["inhibitedBy"]]
    assert {(labels["alertname"], labels["service"], labels.get("instance")) for labels in held_back} == {
        ("TaskerHealthFailureRatio", "orders", None),
        ("TaskerHealthTasksStuck", "gone", None),
        ("TaskerHealthNotReady", "some", "one:80"),
    }


def told(receiver):
    """Return who was told of what: path, alert, service, instance."""
    found = [(each.path, each.alert["labels"]) for each in receiver.told]
    return {(path, labels["alertname"], labels["service"], labels.get("instance")) for path, labels in found}
