"""The doctor at a guard: what it says of the application, and what it means that it says nothing."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest

from answering import answering, http
from fakes import settings_of
from loop import in_loop
from server import free_port
from tasker_health.cli.doctor import guard, ports
from tasker_health.cli.doctor.findings import Finding, Verdict, error
from tasker_health.cli.doctor.listeners import Process
from tasker_health.cli.doctor.walk import Visit
from tasker_health.guard.reports import with_stalled_workers
from tasker_health.health import Health
from tasker_health.loading import Origins

ALIVE = http({"alive": True, "service": "tasker_system"})


async def rows(port, server=0, found=None, **more):
    """Return what is found of a guard at *port*, by what it is of."""
    settings = settings_of(server={"port": server}, guard={"port": port, **more})
    return {each.what: each for each in await guard.look(Visit(settings, Origins(), found=found or {}))}


async def published(*, lags):
    """Return the readiness that an application publishes, as bytes."""
    health = Health(settings_of())
    health.monitor.lags = lambda: lags
    try:
        return msgspec.json.encode(await health.monitor.ready())
    finally:
        await health.stop()


@in_loop
async def test_an_application_that_is_well_is_told():
    """By its guard, its heartbeat, and what it has published."""
    ready = msgspec.json.decode(await published(lags=False))
    async with answering(live=ALIVE, ready=http(ready)) as port:
        found = await rows(port)
    assert [each.verdict for each in found.values()] == [Verdict.OK] * 3
    assert found["report"].measured.startswith("200 for ready")


@in_loop
async def test_a_loop_that_lags_is_a_warning_beside_a_heartbeat_that_beats():
    """By the check under which the application publishes it, with the setting that says what is too late."""
    ready = msgspec.json.decode(await published(lags=True))
    async with answering(live=ALIVE, ready=http(ready)) as port:
        found = await rows(port)
    assert (found["heartbeat"].verdict, found["loop"].verdict) == (Verdict.OK, Verdict.WARNING)
    assert found["loop"].measured == "lags by more than health.loop_lag_warning_seconds = 0.5"
    assert "belongs into a thread" in found["loop"].remedy


@in_loop
async def test_one_worker_of_several_that_stalls_is_a_warning():
    """As the guard puts it into what the others have published."""
    ready = msgspec.json.decode(with_stalled_workers(await published(lags=False)))
    async with answering(live=ALIVE, ready=http(ready)) as port:
        found = await rows(port)
    assert found["heartbeat"].verdict is Verdict.WARNING
    assert "not that of every worker" in found["heartbeat"].measured
    assert "loop" not in found


@in_loop
async def test_an_application_that_publishes_nothing_any_more_or_does_not_beat_is_an_error():
    """With the age of its heartbeat, where the guard tells it, and not with what is no number."""
    stalled = http({"ready": False, "checks": {"application": {"status": "error", "reason": "stalled"}}}, 503)
    async with answering(live=ALIVE, ready=stalled) as port:
        assert (await rows(port))["heartbeat"].verdict is Verdict.ERROR
    dead = {"alive": False, "reason": "worker_stalled", "stalled_seconds": 31.26}
    async with answering(live=http(dead, 503)) as port:
        found = (await rows(port))["heartbeat"]
    assert (found.verdict, found.figures) == (Verdict.ERROR, {"stalled_seconds": 31.26})
    assert found.measured.startswith("worker_stalled for 31.3 s")
    async with answering(live=http({"alive": False, "reason": "\x1b[2J", "stalled_seconds": "ever"}, 503)) as port:
        found = (await rows(port))["heartbeat"]
    assert (found.measured, found.figures) == ("event_loop_stalled: a kubelet restarts it", {})


@in_loop
async def test_what_cannot_be_read_of_the_report_is_not_known():
    """The heartbeat is told all the same."""
    async with answering(live=ALIVE, ready=b"SSH-2.0\r\n") as port:
        found = await rows(port)
    assert (found["heartbeat"].verdict, found["report"].verdict) == (Verdict.OK, Verdict.UNKNOWN)
    assert found["report"].measured == "ready: no HTTP is spoken there"


@in_loop
async def test_who_takes_connections_and_says_nothing_sensible_is_an_error(monkeypatch):
    """Whether it hangs or speaks another language."""
    monkeypatch.setattr(guard, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(ports, "_PATIENCE_SECONDS", 0.1)
    for said, words in ((None, "does not answer within 0.1 s"), (b"SSH-2.0\r\n", "no HTTP is spoken there")):
        async with answering(live=said) as port:
            found = (await rows(port))["guard"]
        assert found.verdict is Verdict.ERROR
        assert words in found.measured
        assert found.remedy == "end what listens there"


@pytest.mark.parametrize(
    ("enabled", "words", "verdict"),
    [(True, (), "error"), (None, ("tasker-health", "serve"), "error"), (None, ("gunicorn", "shop:app"), "note")],
)
@in_loop
async def test_an_absent_guard_is_an_error_where_the_service_runs_and_wants_one(enabled, words, verdict, monkeypatch):
    """`serve` always does; an application only where the setting says so. The process to start again is named."""
    monkeypatch.setattr(guard, "_COMES_BACK_SECONDS", 0.05)
    mine = Process(os.getpid(), os.getppid(), "python", words)
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        monkeypatch.setattr(guard, "listeners", lambda asked: [mine] if asked == port else [])
        monkeypatch.setattr(guard, "owners", _nobody)
        found = await rows(free_port(), server=port, enabled=enabled)
    assert [each.verdict for each in found.values()] == [verdict]
    if verdict == "error":
        assert f"end process {os.getpid()} and start it again" in found["guard"].remedy


async def _nobody(_settings):
    return set()


@in_loop
async def test_a_guard_that_is_not_wanted_not_known_or_explained_by_its_port():
    """None is a note; at a free port it is not asked; neither is one whose port another program has."""
    assert (await rows(0, enabled=False))["guard"].verdict is Verdict.NOTE
    assert "in its log" in (await rows(0))["guard"].measured
    assert (await rows(free_port()))["guard"].verdict is Verdict.UNKNOWN
    found = {"ports": [Finding(what="server.port", measured="free"), error("guard.port", "taken", "end it")]}
    assert (await rows(free_port(), found=found))["guard"].measured == "not looked at: ports"
