"""What `log.probes` writes about a request: who asked, what was answered, and out of what."""

from __future__ import annotations

import asyncio
import logging

import httpx

from canary import secret
from fakes import FakeClock, FakeSource, settings_of
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError
from tasker_health.health import Health
from tasker_health.web.endpoints import Endpoints

LOGGED = {"log": {"probes": True}}
PASSWORD = secret("a header of a probe that is logged")


class Known:
    """An authenticator that knows who sends the right header, and nobody else."""

    def authenticate(self, request):
        """Return who has sent *request*."""
        if request.header("x-password") != PASSWORD:
            raise AuthenticationError("no")
        return Principal("ada", admin=True)


def lines_of(caplog, paths, health=None, **request):
    """Return what is logged of requests for *paths*."""
    health = health or Health(settings_of(**LOGGED), clock=FakeClock())

    async def ask():
        transport = httpx.ASGITransport(health.asgi(), client=("10.1.2.3", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            for path in paths:
                await client.request(request.get("method", "GET"), path, headers=request.get("headers"))

    with caplog.at_level(logging.INFO, "tasker_health.probes"):
        asyncio.run(ask())
    return [record for record in caplog.records if record.name == "tasker_health.probes"]


def test_a_line_has_the_figures_that_the_guide_logs(caplog, tmp_path):
    """Caller, code, time, pool and cache; each also by itself, for a log that is JSON."""
    settings = settings_of(**LOGGED, database={"url": f"sqlite+aiosqlite:///{tmp_path}/none.sqlite"})
    (record,) = lines_of(caplog, ["/tasker/health/ready"], Health(settings))
    told = record.probe
    assert (told["path"], told["code"], told["client"], told["kept"]) == (
        "/tasker/health/ready",
        503,
        "10.1.2.3",
        False,
    )
    assert told["pools"] == [{"size": 5, "open": 1, "busy": 0, "waiting": 0}]
    assert told["cache"]["back_end"] == "memory"
    for words in ("GET /tasker/health/ready 503 in ", "client 10.1.2.3", "pool 0 busy, 1 open of 5", "cache memory: "):
        assert words in record.getMessage()


def test_a_kept_answer_says_so(caplog):
    """The second of two probes within the same second cost nothing."""
    first, second = lines_of(caplog, ["/tasker/health/live"] * 2)
    assert (first.probe["kept"], second.probe["kept"]) == (False, True)
    assert "kept" in second.getMessage()


def test_the_caller_is_named_and_no_header_is_told(caplog):
    """Who is known by their name, who is refused by the code alone; what proves it stays where it is."""
    health = Health(
        settings_of(**LOGGED, auth={"authentication_enabled": True}, health={"status_requires_authentication": True}),
        authenticator=Known(),
        clock=FakeClock(),
    )
    (known,) = lines_of(caplog, ["/tasker/health/status"], health, headers={"x-password": PASSWORD})
    assert (known.probe["caller"], "caller ada" in known.getMessage()) == ("ada", True)
    caplog.clear()
    (refused,) = lines_of(caplog, ["/tasker/health/status"], health)
    assert (refused.probe["caller"], refused.probe["code"]) == (None, 401)
    assert PASSWORD not in caplog.text


def test_whoever_asks_an_open_status_is_anonymous(caplog):
    """Its connections are those that were last read; before that there are none to tell."""
    health = Health(settings_of(**LOGGED), clock=FakeClock())
    health.add_source(FakeSource())
    (record,) = lines_of(caplog, ["/tasker/health/status"], health)
    assert record.probe["caller"] == "anonymous"


def test_a_caller_writes_no_line_of_its_own(caplog):
    """Ends of lines, escapes of a terminal and long paths come out as short printable text."""
    (record,) = lines_of(caplog, ["/tasker/health/ready/%0Aready%1b%5B31m" + "x" * 5000])
    message = record.getMessage()
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 600


def test_a_path_cannot_go_on_as_the_line_does(caplog):
    """It is one word: what it claims of a code or a caller is no part of the line."""
    (record,) = lines_of(caplog, ["/tasker/health/x%20200%20in%200.1%20ms;%20caller%20ada"])
    words = record.getMessage().split(" ")
    assert (words[1], words[2]) == (r"/tasker/health/x\x20200\x20in\x200.1\x20ms;\x20caller\x20ada", "404")
    assert "caller" not in words


def test_without_it_the_plain_endpoints_stand():
    """It costs nothing where it is off."""
    assert type(Health(settings_of(), clock=FakeClock()).endpoints) is Endpoints
