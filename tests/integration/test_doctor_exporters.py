"""`doctor exporters` against real receivers: who is told, whether that works, and a test on request."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

import canary
from command import run
from events_receiver import Answer, Behaviour, EventsReceiver
from fakes import FakeSource, settings_of
from loop import in_loop
from server import free_port
from tasker_health.cli.doctor.exporters import examined
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.health import Health
from tasker_health.model import Reason


@pytest.fixture
def receiver():
    """A receiver of this test."""
    with EventsReceiver() as one:
        yield one


def told_to(receiver, **values):
    """Return alerts for all kinds of channels at *receiver*."""
    secret = f"{receiver.url}/services/{canary.secret('hook')}"
    return {
        "pagerduty": {"routing_key": receiver.routing_key, "url": receiver.url, "ca_file": receiver.ca_file},
        "webhooks": {
            "ops": {"url": secret, "signing_key": canary.secret("signing"), "ca_file": receiver.ca_file},
            "chat": {"kind": "slack", "url": secret, "ca_file": receiver.ca_file},
        },
        "timeout_seconds": 30,
        **values,
    }


async def found_of(settings, *, send_test=False):
    """Return what is found, by what was looked at."""
    return {finding.what: finding for finding in await examined(settings, send_test=send_test)}


@in_loop
async def test_nobody_is_told():
    """What is off is said to be off, and nothing is to be changed."""
    found = await found_of(settings_of(exporters={"prometheus": {"enabled": False}}), send_test=True)
    assert {what: finding.measured for what, finding in found.items()} == dict.fromkeys(
        ("prometheus", "datadog", "opentelemetry", "pagerduty"), "off"
    )


def test_who_can_be_reached_is_told_without_a_word_to_them(receiver):
    """The command connects and looks at certificates; hosts are named, keys and paths are not; what waits is said."""
    alerts = told_to(receiver)
    values = {("pagerduty", name): value for name, value in alerts["pagerduty"].items()}
    values |= {("webhooks", who, name): at for who, hook in alerts["webhooks"].items() for name, at in hook.items()}
    variables = {"__".join(("TASKER_ALERTS", *names)).upper(): value for names, value in values.items()}
    done = run("doctor", "exporters", "--json", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    for what in ("pagerduty", "webhook ops", "webhook chat"):
        assert found[what]["measured"].startswith(f"127.0.0.1:{receiver.port}: reached in ")
    assert "known to each process alone" in found["waiting alerts"]["measured"]
    assert "tasker_health_deliveries_pending" in found["waiting alerts"]["remedy"]
    assert receiver.requests == []


@in_loop
async def test_a_test_goes_all_the_way(receiver):
    """On request each channel gets an alert of its own key and its end: nobody is left with an open incident."""
    found = await found_of(settings_of(alerts=told_to(receiver)), send_test=True)
    assert [found[f"{name} test"].verdict for name in ("pagerduty", "ops", "chat")] == [Verdict.OK] * 3
    [incident] = receiver.incidents
    assert (incident.state, incident.events[0]["payload"]["severity"]) == ("resolved", "info")
    assert "/doctor-" in incident.dedup_key
    assert len(receiver.hooks) == 4
    assert receiver.refused == []


@in_loop
async def test_what_does_not_work_is_to_be_changed(receiver):
    """A closed port, a certificate that nobody trusts, a key that is none: each is a line with a remedy."""
    alerts = told_to(receiver, timeout_seconds=5)
    alerts["pagerduty"] |= {"routing_key": "short", "url": f"https://127.0.0.1:{free_port()}"}
    alerts["webhooks"]["ops"]["ca_file"] = None
    found = await found_of(settings_of(alerts=alerts))
    assert found["pagerduty"].measured.endswith("refused (ConnectionRefusedError)")
    assert "has 5 characters" in found["pagerduty key"].measured
    assert "its certificate is not trusted" in found["webhook ops"].measured
    assert {found[what].verdict for what in ("pagerduty", "pagerduty key", "webhook ops")} == {Verdict.WARNING}
    assert found["webhook chat"].verdict is Verdict.OK


@in_loop
async def test_a_test_that_is_not_taken(receiver):
    """What was answered is told, without what the other side sent."""
    receiver.misbehave(Behaviour.ANSWER, Behaviour.ANSWER, Behaviour.ANSWER)  # those that only connect
    receiver.always = Answer(403, {}, b"<html>go away</html>")
    found = await found_of(settings_of(alerts=told_to(receiver)), send_test=True)
    assert "answered 403: put alerts.pagerduty.routing_key right" in found["pagerduty test"].measured
    assert "answered 403: put alerts.webhooks.ops.url right" in found["ops test"].measured
    assert found["chat test"].verdict is Verdict.WARNING
    assert "html" not in str(found)


@in_loop
async def test_exporters_that_push(receiver, tmp_path):
    """A Datadog Agent at a socket's file and a collector are looked for, and told what is true now on request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(str(tmp_path / "agent"))
        exporters = {
            "datadog": {"enabled": True, "address": f"unix://{tmp_path}/agent"},
            "opentelemetry": {"enabled": True, "endpoint": f"http://127.0.0.1:{free_port()}/v1/metrics"},
        }
        found = await found_of(settings_of(exporters=exporters))
        assert found["datadog"].measured.endswith("somebody listens")
        assert found["opentelemetry"].verdict is Verdict.WARNING
        exporters["opentelemetry"]["enabled"] = False
        found = await found_of(settings_of(exporters=exporters), send_test=True)
        assert found["datadog test"].verdict is Verdict.OK
        assert b"tasker." in agent.recv(65_536)
    found = await found_of(settings_of(exporters=exporters))
    assert "refused" in found["datadog"].measured


@in_loop
@pytest.mark.parametrize(
    ("scheme", "kind", "works"),
    [
        ("unix", socket.SOCK_STREAM, True),
        ("unixstream", socket.SOCK_STREAM, True),
        ("unixgram", socket.SOCK_DGRAM, True),
        ("unixgram", socket.SOCK_STREAM, False),
    ],
)
async def test_an_agent_is_found_at_any_kind_of_socket(scheme, kind, works, tmp_path):
    """Each way to write the address of a socket is understood, and one that insists on another kind does not fit."""
    with socket.socket(socket.AF_UNIX, kind) as agent:
        agent.bind(str(tmp_path / "agent"))
        if kind == socket.SOCK_STREAM:
            agent.listen()
        datadog = {"enabled": True, "address": f"{scheme}://{tmp_path}/agent"}
        found = (await found_of(settings_of(exporters={"datadog": datadog})))["datadog"]
    assert found.verdict is (Verdict.OK if works else Verdict.WARNING)


@in_loop
async def test_what_the_environment_forbids_is_not_said_to_be_on(monkeypatch):
    """Where a variable forbids what the settings ask for, the line names that variable."""
    monkeypatch.setenv("DD_DOGSTATSD_DISABLE", "true")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    found = await found_of(settings_of(exporters={"datadog": {"enabled": True}, "opentelemetry": {"enabled": True}}))
    assert "DD_DOGSTATSD_DISABLE is set: nothing is told" in found["datadog"].measured
    assert "OTEL_SDK_DISABLED is set: nothing is told" in found["opentelemetry"].measured


@in_loop
async def test_an_address_of_the_environment_is_put_right_there(monkeypatch):
    """What names an address that is none is told: the variable, not the setting that is not there."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")
    settings = settings_of(exporters={"opentelemetry": {"enabled": True}})
    found = await found_of(settings, send_test=True)
    assert "write OTEL_EXPORTER_OTLP_ENDPOINT as" in found["opentelemetry"].remedy
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: a URL such as" in found["opentelemetry test"].measured


def test_no_name_in_a_remedy_is_cut():
    """A narrow terminal breaks a long name; it does not end it with dots."""
    done = run(
        "doctor",
        "exporters",
        COLUMNS="80",
        TASKER_EXPORTERS__OPENTELEMETRY__ENABLED="true",
        TASKER_EXPORTERS__OPENTELEMETRY__ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/metrics",
    )
    assert "…" not in done.stdout
    assert "exporters.opentelemetry." in done.stdout


@in_loop
async def test_what_waits_and_what_was_dropped(redis_server, receiver):
    """Another process reads in the shared cache what waits for whom, and what nobody will get any more."""
    settings = settings_of(
        cache={"url": redis_server.url, "timeout_seconds": 20},
        alerts={**told_to(receiver, timeout_seconds=20), "webhooks": {}, "interval_seconds": 0.2, "for_seconds": 0},
    )
    assert "no ledger" in (await found_of(settings))["waiting alerts"].measured
    source = FakeSource()
    source.fault = Reason.UNREACHABLE
    health = Health(settings)
    health.add_source(source)
    receiver.always = Answer(500)
    await health.start()
    try:
        waiting = await told(settings, "alerts to pagerduty", "1 wait")
        assert (waiting.verdict, waiting.figures["waiting"]) == (Verdict.WARNING, 1)
        assert "none was dropped; the oldest for " in waiting.measured
        receiver.always = Answer(400)
        dropped = await told(settings, "alerts to pagerduty", "dropped: 1 refused")
        assert (dropped.verdict, dropped.figures) == (Verdict.NOTE, {"waiting": 0, "dropped_refused": 1})
        assert (await found_of(settings))["open alerts"].measured.startswith("status; written ")
        redis_server.pause()
        asked = settings_of(cache={"url": redis_server.url}, alerts=settings.alerts.model_dump())
        assert (await found_of(asked))["waiting alerts"].measured == "the cache does not answer"
    finally:
        redis_server.resume()
        await health.stop()


async def told(settings, what, words):
    """Return the finding *what* as soon as it says *words*."""
    ends_at = asyncio.get_running_loop().time() + 60
    while True:
        finding = (await found_of(settings)).get(what)
        if finding is not None and words in finding.measured and "tried 0" not in finding.measured:
            return finding
        assert asyncio.get_running_loop().time() < ends_at, finding
        await asyncio.sleep(0.1)
