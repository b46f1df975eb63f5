"""The answers that need neither a coroutine nor a request: what was given before, for as long as it serves."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock, FakeSource, settings_of
from tasker_health.health import Health
from tasker_health.request import Request

PREFIX = "/tasker/health"
ANYTHING = [(b"host", b"probe"), (b"accept", b"*/*")]
KEPT_SECONDS = {f"{PREFIX}/live": 1, f"{PREFIX}/ready": 1, f"{PREFIX}/status": 1, PREFIX: 1}


class Nobody:
    """An authenticator that knows nobody."""

    def authenticate(self, request):
        """Return nobody."""


def health_of(**arguments):
    """Return a health with a source, and its clock."""
    clock = FakeClock()
    health = Health(settings_of(), clock=clock, **arguments)
    health.add_source(FakeSource())
    return health, clock


async def asked(health, path, times=2):
    """Return the last answer for *path*; the second status is the first that comes from the cache."""
    for _ in range(times):
        answer = await health.endpoints.answer(Request("GET", path, []))
    return answer


@pytest.mark.parametrize("path", KEPT_SECONDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_same_answer_is_handed_out_while_it_serves(path, method):
    """Not before anybody asked; then the very same object; not for a moment longer."""
    health, clock = health_of()
    assert health.endpoints.at_once(method, path, ANYTHING, b"") is None
    answer = asyncio.run(asked(health, path))
    assert health.endpoints.at_once(method, path, ANYTHING, b"") is answer
    clock.move(KEPT_SECONDS[path] - 0.001)
    assert health.endpoints.at_once(method, path, ANYTHING, b"") is answer
    clock.move(0.001)
    assert health.endpoints.at_once(method, path, ANYTHING, b"") is None


@pytest.mark.parametrize("path", KEPT_SECONDS)
def test_another_method_is_never_answered_at_once(path):
    """405 is `answer`'s to say."""
    health, _ = health_of()
    asyncio.run(asked(health, path))
    assert health.endpoints.at_once("POST", path, ANYTHING, b"") is None


def test_a_status_that_not_everybody_may_read_is_never_handed_out_at_once():
    """Who asks is looked at on every request, after the cache."""
    health, _ = health_of(authenticator=Nobody())
    asyncio.run(asked(health, f"{PREFIX}/status"))
    assert health.monitor.kept_status.made is not None
    assert health.endpoints.at_once("GET", f"{PREFIX}/status", ANYTHING, b"") is None


def test_draining_takes_readiness_back_at_once():
    """The kept 200 is not handed out once the server drains."""
    health, _ = health_of()

    async def play():
        before = await asked(health, f"{PREFIX}/ready")
        health.monitor.drain()
        kept = health.endpoints.at_once("GET", f"{PREFIX}/ready", ANYTHING, b"")
        after = await asked(health, f"{PREFIX}/ready")
        return before.status, kept, after.status, health.endpoints.at_once("GET", f"{PREFIX}/ready", ANYTHING, b"")

    assert asyncio.run(play()) == (200, None, 503, None)


def test_a_run_that_ends_after_the_drain_began_is_not_kept():
    """It found that all is well, which sends no traffic here any more."""
    health, _ = health_of()
    begun, gate = asyncio.Event(), asyncio.Event()

    @health.check("slow")
    async def slow():
        begun.set()
        await gate.wait()

    async def play():
        run = asyncio.create_task(asked(health, f"{PREFIX}/ready", times=1))
        await begun.wait()
        health.monitor.drain()
        gate.set()
        await run
        return health.endpoints.at_once("GET", f"{PREFIX}/ready", ANYTHING, b"")

    assert asyncio.run(play()) is None


def test_nothing_is_handed_out_after_a_stop():
    """What was true of connections that are closed now is asked again."""
    health, _ = health_of()

    async def play():
        for path in (f"{PREFIX}/ready", f"{PREFIX}/status"):
            await asked(health, path)
        await health.stop()
        return [
            health.endpoints.at_once("GET", path, ANYTHING, b"") for path in (f"{PREFIX}/ready", f"{PREFIX}/status")
        ]

    assert asyncio.run(play()) == [None, None]
