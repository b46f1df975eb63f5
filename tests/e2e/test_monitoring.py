"""Failing tasks of the running demo page somebody, and their end is told: through the real servers, end to end."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime

import httpx
import pytest
import yaml
from dbos import DBOSClient

from command import run
from prometheus_servers import AlertmanagerServer, PrometheusServer
from served import served
from server import free_port, wait_until
from webhook_receiver import WebhookReceiver

ALERT = "TaskerHealthFailureRatio"
GUIDES_ALERT = "TaskerHealthFailedTasks"
BORNE = 0.25
"""Of a window of seconds the demo's own failing order, one in thirty, may be a tenth."""

SEED = 288
"""With it the demo's own first failing order is its thirtieth: what fails before is the customers'."""

SETTINGS = {
    "TASKER_HEALTH__SERVICE_NAME": "shop",
    "TASKER_HEALTH__METRICS_WINDOW_SECONDS": "8",
    "TASKER_HEALTH__CACHE_DURATION_SECONDS": "0.5",
    "TASKER_HEALTH__DEGRADED_FAILURE_RATIO": str(BORNE),
    "TASKER_HEALTH__DEGRADED_MIN_SETTLED_TASKS": "3",
}
_FAILING = {
    "failures": {"reserve": 4},
    "work_seconds": {"reserve": 0.05, "charge": 0.05, "ship": 0.05},
    "backoff_seconds": 0.05,
}
"""An order of the shop, as its customers place them, whose first step uses up its attempts."""


class FailingCustomers:
    """Customers of the running shop: while they are there, orders are placed that fail for good.

    Args:
        url: The database of the shop.

    Attributes:
        first_at: When the first order was placed.
    """

    def __init__(self, url):
        self._client = DBOSClient(system_database_url=url)
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._place_orders, daemon=True)
        self.first_at = None

    def __enter__(self):
        """Begin to place orders."""
        self.first_at = time.time()
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Place no more of them."""
        self._leave.set()
        self._thread.join(60)
        self._client.destroy()

    def _place_orders(self):
        where = {"queue_name": "orders", "workflow_name": "order", "app_version": "1"}
        while not self._leave.wait(0.5):
            self._client.enqueue(where, _FAILING)


class Times:
    """When what happened, in seconds after the first."""

    def __init__(self, began):
        self._began = began
        self._lines = []

    def add(self, what, at=None):
        """Remember that *what* happened *at* that time, seconds since the epoch; `None`: now."""
        self._lines.append(f"{(time.time() if at is None else at) - self._began:6.1f} s  {what}")

    def print(self):
        """Print them."""
        print("", *self._lines, sep="\n")  # noqa: T201 -- figures to look at


@pytest.fixture
def receiver():
    """Who is told by Alertmanager."""
    with WebhookReceiver() as listening:
        yield listening


@pytest.fixture
def watched(start_demo, tmp_path, receiver):
    """The demo with two more replicas that read its engine, under a Prometheus and an Alertmanager of `deploy`."""
    ports = [free_port(), free_port()]
    demo = start_demo("--rate", "1", "--seed", str(SEED), **SETTINGS)
    with contextlib.ExitStack() as running:
        files = deployed(tmp_path, [demo.port, *ports])
        alertmanager = AlertmanagerServer({"alertmanager.yml": with_webhooks(files["alertmanager.yml"], receiver)})
        running.callback(alertmanager.end)
        files["prometheus.yml"] = files["prometheus.yml"].replace("127.0.0.1:9093", alertmanager.address)
        prometheus = PrometheusServer(files)
        running.callback(prometheus.end)
        demo.wait_for("health/startup")
        url = f"sqlite:///{tmp_path}/.tasker-health/shop.sqlite"
        source = {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": "dbos"}
        for port in ports:
            running.enter_context(served(**SETTINGS, **source, TASKER_SERVER__PORT=str(port)))
        prometheus.wait_for_scrapes(3)
        yield demo, prometheus, alertmanager


def test_failing_tasks_fire_the_alert_and_their_end_resolves_it(watched, receiver, tmp_path):
    """From the first failing task to the receiver of Alertmanager, and the way back; three replicas, one alert."""
    demo, prometheus, alertmanager = watched
    wait_until(lambda: figure(demo, "tasker_health_settled_tasks") >= 3, "the shop is at work")
    assert prometheus.alert_state(ALERT) == "inactive"
    assert receiver.first("firing", ALERT) is None

    with FailingCustomers(f"sqlite:///{tmp_path}/.tasker-health/shop.sqlite") as customers:
        times = Times(customers.first_at)
        before = figure(demo, "tasker_failed_tasks")
        wait_until(lambda: figure(demo, "tasker_failed_tasks") > before, "a failed task is told")
        times.add("/metrics tells the first failed task")
        wait_until(lambda: figure(demo, "tasker_health_failure_ratio") > BORNE, "the ratio is told")
        times.add(f"/metrics tells that more than {BORNE:.0%} fail")
        wait_until(lambda: prometheus.alert_state(ALERT) == "firing", "Prometheus fires")
        pending_at = active_since(prometheus)
        fired = wait_until(lambda: alertmanager.alert(alertname=ALERT), "Alertmanager has the alert")
        in_alertmanager = time.time()
        told = wait_until(lambda: receiver.first("firing", ALERT), "the receiver is told")
    times.add("pending in Prometheus", pending_at)
    times.add("firing in Prometheus", seconds(fired["startsAt"]))
    times.add("in Alertmanager", in_alertmanager)
    times.add(f"at the receiver: {told.alert['annotations']['description']}", told.at)
    stopped = time.time()
    times.add("the last failing task is placed", stopped)

    wait_until(lambda: figure(demo, "tasker_health_failure_ratio") <= BORNE, "the ratio is well again")
    times.add("/metrics tells that it is over")
    ended = wait_until(lambda: receiver.first("resolved", ALERT), "the receiver is told of the end")
    times.add("resolved in Prometheus", seconds(ended.alert["endsAt"]))
    times.add("the end at the receiver", ended.at)
    times.print()
    assert prometheus.alert_state(ALERT) == "inactive"
    assert alertmanager.alert(alertname=ALERT) is None
    assert (told.path, ended.path) == ("/warnings", "/warnings")
    assert told.alert["fingerprint"] == ended.alert["fingerprint"]
    assert {each.alert["fingerprint"] for each in receiver.told if each.alert["labels"]["alertname"] == ALERT} == {
        told.alert["fingerprint"]
    }
    assert told.at < stopped < ended.at
    # Of all tasks ever more than 5 % have failed, and that is not over when no more of them fail.
    assert receiver.first("firing", GUIDES_ALERT)
    assert not receiver.first("resolved", GUIDES_ALERT)
    assert {target["health"] for target in prometheus.targets()} == {"up"}


def deployed(folder, ports):
    """Return what `deploy prometheus` writes for the demo and two replicas, in a hurry."""
    servers = [word for port in ports for word in ("--server", f"127.0.0.1:{port}")]
    done = run(
        *(
            "deploy",
            "prometheus",
            *servers,
            "--interval",
            "1",
            "--for-seconds",
            "2",
            "--output",
            str(folder / "monitoring"),
        ),
        **{**SETTINGS, "TASKER_GUARD__PORT": "8081"},
    )
    assert done.returncode == 0, done.stderr
    return {file.name: file.read_text() for file in (folder / "monitoring").rglob("*.yml")}


def with_webhooks(text, receiver):
    """Return Alertmanager's configuration *text*, its receivers filled with *receiver*."""
    configuration = yaml.safe_load(text)
    for each in configuration["receivers"]:
        each["webhook_configs"] = [{"url": receiver.url(f"/{each['name']}"), "send_resolved": True}]
    return yaml.safe_dump(configuration)


def figure(demo, name):
    """Return the figure *name* of the metrics that *demo* tells, or 0 where it tells none."""
    text = httpx.get(f"http://127.0.0.1:{demo.port}/tasker/metrics").text
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def active_since(prometheus):
    """Return when the alert's condition began to hold."""
    (rule,) = [rule for rule in prometheus.rules() if rule["name"] == ALERT]
    return seconds(rule["alerts"][0]["activeAt"])


def seconds(timestamp):
    """Return *timestamp* as seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()
