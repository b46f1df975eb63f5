"""The endpoint of the metrics: in which format, from which snapshot, and what it never does."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import pytest

from fakes import FakeClock, FakeSource, settings_of
from scraping import PATH, answer, ask, health_of, samples
from tasker_health.counters import Vitals
from tasker_health.errors import CheckFailed, SettingsError
from tasker_health.health import Health
from tasker_health.model import Reason

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ({}, "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_metrics_have_the_headers_of_the_contract(method, headers, content_type):
    """Not cached anywhere, `Vary`, the format that was asked for; HEAD has GET's headers and no body."""
    response = answer(health_of(), method, headers)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert response.headers["vary"] == "Accept"
    assert response.headers["content-type"] == content_type
    assert "set-cookie" not in response.headers
    got = answer(health_of(), "GET", headers)
    assert got.text.endswith("# EOF\n") == bool(headers)
    assert int(response.headers["content-length"]) == len(got.content)
    assert response.content == (b"" if method == "HEAD" else got.content)


def test_the_metrics_are_from_the_snapshot_of_the_status():
    """A scrape reads what nobody has read within the cache's duration, and nothing else."""

    async def scene():
        source = FakeSource()
        health = health_of(source)
        await ask(health, path="/tasker/health/status")
        told = samples(await ask(health))
        reads = source.reads
        health.monitor.clock.move(10)
        later = samples(await ask(health))
        health.monitor.clock.move(10)
        anew = samples(await ask(health))
        return told, reads, later, anew, source.reads

    told, reads, later, anew, reads_at_last = asyncio.run(scene())
    age, hits = ("tasker_health_status_age_seconds",), ("tasker_health_cache_lookups_total", ("result", "hit"))
    assert (reads, reads_at_last) == (1, 2)
    assert (told[age], later[age], anew[age]) == (0, 10, 0)
    assert [each[*hits, ("source", "shop")] for each in (told, later, anew)] == [1, 2, 2]
    assert anew["tasker_health_source_refreshes_total", ("source", "shop")] == 2


def test_an_unhealthy_system_is_200():
    """Of an unreadable source and a failed check the metrics tell, without the text of an exception."""
    source = FakeSource()
    source.fault = Reason.REFUSED
    health = health_of(source)

    @health.check("broken")
    def broken():
        raise CheckFailed(Reason.MISSING, "canary")

    response = answer(health)
    assert response.status_code == 200
    assert "canary" not in response.text
    assert "secret" not in response.text
    told = samples(response)
    assert told["tasker_health_status", ("status", "unhealthy")] == 1
    assert told["tasker_health_status_reason", ("reason", "source_unreadable")] == 1
    assert told["tasker_health_ready",] == 0
    assert told["tasker_health_check_state", ("check", "broken"), ("state", "error")] == 1
    assert told["tasker_health_source_errors_total", ("reason", "refused"), ("source", "shop")] == 1


def test_a_source_that_hangs_costs_a_scrape_its_deadline():
    """The answer is there, 200, with the timeout counted and no figure invented."""

    async def scene():
        source = FakeSource()
        source.gate.clear()
        health = Health(settings_of(health={"status_timeout_seconds": 0.05}), clock=FakeClock())
        health.add_source(source)
        response = await asyncio.wait_for(ask(health), 30)
        await health.stop()
        return response

    response = asyncio.run(scene())
    told = samples(response)
    assert response.status_code == 200
    assert told["tasker_health_source_errors_total", ("reason", "timeout"), ("source", "shop")] == 1
    assert not {name for name, *_ in told if name == "tasker_health_tasks"}


def test_a_blocking_check_that_hangs_is_told_as_held():
    """Its timeout is counted once, for the run and not for each probe; once it returns, nothing is held."""

    async def scene():
        free = threading.Event()
        health = Health(settings_of(health={"readiness_max_age_seconds": 0}))
        health.check("hangs", timeout_seconds=0.05)(lambda: free.wait(60) and None)
        try:
            told = [samples(await asyncio.wait_for(ask(health), 30)) for _ in range(3)]
        finally:
            free.set()
        while samples(await ask(health))["tasker_health_held_checks",]:
            await asyncio.sleep(0)
        return told

    for told in asyncio.run(scene()):
        assert told["tasker_health_held_checks",] == 1
        assert told["tasker_health_check_timeouts_total", ("check", "hangs")] == 1
        assert told["tasker_health_check_duration_seconds_count", ("check", "hangs")] == 1
        assert told["tasker_health_check_duration_seconds_sum", ("check", "hangs")] >= 0.05
        assert told["tasker_health_check_state", ("check", "hangs"), ("state", "error")] == 1


def test_a_run_is_counted_once_however_many_ask():
    """The histogram counts runs: a hundred probes that share one are one."""

    async def scene():
        health = health_of()
        health.check("well")(lambda: None)
        for _ in range(100):
            await ask(health, path="/tasker/health/ready")
        told = samples(await ask(health))
        health.monitor.clock.move(2)
        return told, samples(await ask(health))

    first, second = asyncio.run(scene())
    count = ("tasker_health_check_duration_seconds_count", ("check", "well"))
    assert (first[count], second[count]) == (1, 2)


def test_stalls_of_the_event_loop_are_counted_by_their_beginning():
    """A lag that goes on over several runs is one stall; without a heartbeat none is told."""

    async def scene():
        health = health_of()
        assert ("tasker_health_event_loop_stalls_total",) not in samples(await ask(health))
        health.monitor.vitals = lambda: Vitals(0.7, 1)
        told = []
        for lags in (False, True, True, False, True):
            health.monitor.lags = lambda lags=lags: lags
            health.monitor.clock.move(2)
            told.append(samples(await ask(health))["tasker_health_event_loop_stalls_total",])
        return told, samples(await ask(health))

    told, last = asyncio.run(scene())
    assert told == [0, 1, 1, 1, 2]
    assert last["tasker_health_event_loop_lag_seconds",] == 0.7
    assert last["tasker_health_guard_restarts_total",] == 1
    assert last["tasker_health_check_state", ("check", "event_loop"), ("state", "degraded")] == 1


@pytest.fixture
def without_the_client(monkeypatch):
    """prometheus-client is not installed."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in [name for name in sys.modules if name.startswith("prometheus_client.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tasker_health.exporters.prometheus", raising=False)


NOT_THERE = [{"enabled": False}, {}]


@pytest.mark.parametrize("settings", NOT_THERE)
def test_without_metrics_the_path_is_404_and_not_ours(settings, request):
    """Switched off, or the package is missing: not found, not documented, left to the application around."""
    if not settings:
        request.getfixturevalue("without_the_client")
    health = health_of(**settings)
    response = answer(health)
    assert (response.status_code, response.json()["error"]) == (404, "Not Found")
    assert not health.endpoints.claims(PATH)
    assert PATH not in answer(health, path="/tasker/openapi.json").json()["paths"]
    assert answer(health, path="/tasker/health/status").status_code == 200


def test_metrics_that_are_wanted_and_cannot_be_do_not_start(without_the_client):
    """The message names the extra to install."""
    with pytest.raises(SettingsError, match=r"exporters\.prometheus\.enabled.*tasker-health\[prometheus\]"):
        health_of(enabled=True)


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH.upper()}", "/tasker//metrics", "/tasker/x/../metrics"])
def test_a_path_that_is_only_nearly_right_is_404(path):
    """It never reaches an application that would redirect it."""

    async def app(scope, receive, send):
        raise AssertionError(scope["path"])

    async def scene():
        sent = []
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "root_path": ""}

        async def send(message):
            sent.append(message)

        await health_of().asgi(app)(scope, None, send)
        return sent

    start, body = asyncio.run(scene())
    assert start["status"] == 404
    assert json.loads(body["body"])["error"] == "Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(method):
    """`Allow` names the two."""
    response = answer(health_of(), method)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_the_answers_are_in_the_openapi_document():
    """Codes and formats; GET's and HEAD's alike."""
    described = answer(health_of(), path="/tasker/openapi.json").json()["paths"][PATH]
    assert described["get"]["responses"].keys() == described["head"]["responses"].keys() == {"200", "401", "403", "500"}
    assert described["get"]["responses"]["200"]["content"].keys() == {"text/plain", "application/openmetrics-text"}


def test_a_fault_of_ours_is_a_500_that_tells_nothing(monkeypatch, caplog):
    """What went wrong is in the log and not in the answer."""
    health = health_of()

    def breaks():
        raise RuntimeError("canary")

    health.monitor.vitals = breaks
    response = answer(health)
    assert response.status_code == 500
    assert "canary" not in response.text
    assert "canary" in caplog.text


def test_two_of_them_do_not_meet():
    """Each `Health` has counts and a registry of its own."""
    one, other = health_of(), health_of(FakeSource(name="other"))
    answer(one, path="/tasker/health/status")
    told = samples(answer(other))
    assert ("tasker_health_source_refreshes_total", ("source", "shop")) not in told
    assert told["tasker_health_source_refreshes_total", ("source", "other")] == 1
