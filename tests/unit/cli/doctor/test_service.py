"""The doctor at a service that runs: slow, refused, ill, another program, and a cache that is never read."""

from __future__ import annotations

import pytest

from answering import answering, http
from fakes import settings_of
from loop import in_loop
from server import free_port
from tasker_health.cli.doctor import service
from tasker_health.cli.doctor.findings import Verdict, error
from tasker_health.cli.doctor.walk import Visit
from tasker_health.loading import Origins

WELL = http({"alive": True, "ready": True})
SOURCE = {"sources": {"work": {"kind": "tasker"}}, "database": {"url": "sqlite:///nowhere.db"}}
ASKED = {
    "health": {"status_requires_authentication": True},
    "auth": {"authentication_enabled": True, "authenticator_class": "tokens"},
}


async def rows(port, *causes, **groups):
    """Return what is found of a service at *port* where the parts *causes* have found errors."""
    settings = settings_of(**{"server": {"port": port}, **groups})
    found = {cause: [error("this", "is wrong", "mend it")] for cause in causes}
    return {each.what: each for each in await service.look(Visit(settings, Origins(), found=found))}


def told(*cached):
    """Return answers of the status, each with whether it came from the cache."""
    return [http({"status": "healthy", "cache_info": {"cached": each}}) for each in cached]


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine is not slow: only what a test makes slow is."""
    monkeypatch.setattr(service, "_PROMISED_MS", dict.fromkeys(service._PROMISED_MS, 30_000.0))


@in_loop
async def test_a_service_that_is_well_is_told_endpoint_by_endpoint():
    """And where nobody listens, or it is not known where, or another part knows why, it is not asked."""
    async with answering(live=WELL, ready=WELL, status=told(True)) as port:
        found = await rows(port)
    assert {what: each.verdict for what, each in found.items()} == dict.fromkeys(("live", "ready", "status"), "ok")
    assert (await rows(free_port()))["service"].verdict is Verdict.UNKNOWN
    assert "in its log" in (await rows(0))["service"].measured
    assert (await rows(free_port(), "ports"))["service"].measured == "not looked at: ports"


@in_loop
async def test_slow_answers_are_a_warning_by_the_best_of_them(monkeypatch):
    """Of the guide's trouble; one slow answer among quick ones is a busy moment."""
    monkeypatch.setitem(service._PROMISED_MS, "ready", 200.0)
    monkeypatch.setattr(service, "_LONG_ENOUGH_SECONDS", 0.3)
    async with answering(live=WELL, ready=0.25, status=told(True)) as port:
        found = await rows(port)
    assert (found["ready: time"].verdict, found["ready: time"].trouble) == (Verdict.WARNING, "slow answers")
    assert found["ready: time"].figures["best_ms"] > 200
    assert {"live: time", "status: time"}.isdisjoint(found)
    async with answering(live=WELL, ready=[0.25, WELL], status=told(True)) as port:
        assert "ready: time" not in await rows(port)


@in_loop
async def test_what_hangs_is_asked_once_so_that_the_part_keeps_its_time(monkeypatch):
    """Each endpoint costs its prober's patience once, not five times; a service that is wedged, once in all."""
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", {"live": 30, "ready": 0.2, "status": 0.2})
    monkeypatch.setattr(service, "_LONG_ENOUGH_SECONDS", 0.1)
    async with answering(live=WELL, ready=[None, WELL], status=[None, WELL]) as port:
        found = await rows(port)
    assert (found["ready"].verdict, found["ready"].trouble) == (Verdict.ERROR, "slow answers")
    assert found["status"].measured == "no answer within 0.2 s"
    monkeypatch.setitem(service._PATIENCE_SECONDS, "live", 0.1)
    async with answering(live=[None, WELL]) as port:
        (wedged,) = (await rows(port)).values()
    assert (wedged.what, wedged.verdict, wedged.trouble) == ("live", Verdict.ERROR, "slow answers")


@in_loop
async def test_a_cache_that_never_serves_is_a_warning():
    """Where there is a source, and a time to live; that the first answer was read anew says nothing."""
    async with answering(live=WELL, ready=WELL, status=told(False)) as port:
        found = await rows(port, **SOURCE)
        assert (found["status: cache"].verdict, found["status: cache"].trouble) == ("warning", "cache not working")
        assert found["status: cache"].measured.startswith("5 asks")
        assert "status: cache" not in await rows(port)
        assert "status: cache" not in await rows(port, **SOURCE, health={"cache_duration_seconds": 0})
    async with answering(live=WELL, ready=WELL, status=told(False, True)) as port:
        assert (await rows(port, **SOURCE))["status: cache"].verdict is Verdict.OK


@in_loop
async def test_a_refusal_is_as_it_should_be_where_credentials_are_asked_for():
    """Where they are not, or they are and nobody asks, the service runs with other settings."""
    async with answering(live=WELL, ready=WELL, status=http({}, 401)) as port:
        as_asked, unasked = (await rows(port, **ASKED))["status"], (await rows(port))["status"]
    assert (as_asked.verdict, unasked.verdict) == (Verdict.OK, Verdict.ERROR)
    assert (unasked.trouble, "other settings than these" in unasked.remedy) == ("authorization errors", True)
    async with answering(live=WELL, ready=WELL, status=told(True)) as port:
        open_ = (await rows(port, **ASKED))["status"]
    assert (open_.verdict, open_.trouble) == (Verdict.WARNING, "authorization errors")
    async with answering(live=WELL, ready=WELL, status=http({}, 500)) as port:
        broken = (await rows(port, **ASKED))["status"]
    assert (broken.verdict, "fails closed" in broken.remedy) == (Verdict.ERROR, True)


@in_loop
async def test_a_service_that_is_ill_is_told_with_its_checks_unless_another_part_knows_why():
    """Not being alive has no cause elsewhere; an unhealthy status is a note; another program is known by its code."""
    ill = http({"ready": False, "failed_checks": ["disk\x1b[2J"]}, 503)
    async with answering(live=http({"alive": False}, 503), ready=ill, status=ill) as port:
        found, explained = await rows(port), await rows(port, "database")
    assert found["ready"].verdict is Verdict.ERROR
    assert found["ready"].measured.endswith(": disk?[2J")
    assert found["status"].verdict is Verdict.NOTE
    assert "\x1b" not in found["status"].measured
    assert explained["ready"].measured == "not looked at: database"
    assert found["live"].verdict is explained["live"].verdict is Verdict.ERROR
    async with answering(live=WELL) as port:
        assert "another program" in (await rows(port))["ready"].remedy
