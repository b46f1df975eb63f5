"""The last hour over real caches, and in a process that was forked."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time

import pytest

from fakes import FakeSource, settings_of
from loop import in_loop
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import CheckStatus, Reason, SystemStatus
from tasker_health.settings import HistorySettings

PATIENCE_SECONDS = 60
SLOT_SECONDS = 1


def health_of(url):
    """Return one process of a fleet; its slots are shorter than settings allow, so that a test is."""
    settings = settings_of(cache={"url": url, "timeout_seconds": 2}, health={"cache_duration_seconds": 0.2})
    history = HistorySettings.model_construct(enabled=True, slot_seconds=SLOT_SECONDS, most_checks=100)
    health = Health(settings.model_copy(update={"history": history}))
    health.add_source(FakeSource())
    return health


def history_of(health):
    """Return the last hour as *health* tells it."""
    return health.endpoints._by_path["/tasker/health/history"].__self__._history()


@contextlib.asynccontextmanager
async def started(*healths):
    """Start *healths*, and stop them at the end."""
    for health in healths:
        await health.start()
    try:
        yield
    finally:
        for health in healths:
            await health.stop()


async def until(condition, what):
    """Wait until *condition* holds."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, f"not within {PATIENCE_SECONDS} s: {what}"
        await asyncio.sleep(0.02)


def is_told(health, replicas):
    """Whether *health* tells of so many processes or more, of which one had a check that failed, and shares it."""
    history = history_of(health)
    own = history.checks.get("own")
    failed = own is not None and CheckStatus.ERROR in own.status
    return failed and history.is_shared and history.replicas >= replicas


@in_loop
async def test_a_fleet_over_redis_that_dies_and_comes_back(redis_server):
    """All tell of a check that failed in one; while Redis is away each tells on for itself, and then all again."""
    one, other = health_of(redis_server.url), health_of(redis_server.url)

    @one.check("own", critical=False)
    def own():
        raise CheckFailed(Reason.REFUSED)

    async with started(one, other):
        await until(lambda: all(is_told(each, 2) for each in (one, other)), "both tell of both")
        late = health_of(redis_server.url)
        async with started(late):
            await until(lambda: is_told(late, 2), "who starts anew tells of the others, before it has looked itself")
        redis_server.kill()
        await until(lambda: not any(history_of(each).is_shared for each in (one, other)), "Redis is missed")
        seen = history_of(other)
        assert CheckStatus.ERROR in seen.checks["own"].status
        assert SystemStatus.HEALTHY in seen.status
        redis_server.start()
        await until(lambda: all(is_told(each, 2) for each in (one, other)), "both tell of both again")


@in_loop
async def test_a_fleet_over_memcached(memcached_server):
    """Whose ages are whole seconds."""
    one, other = health_of(memcached_server.url), health_of(memcached_server.url)

    @one.check("own", critical=False)
    def own():
        raise CheckFailed(Reason.REFUSED)

    async with started(one, other):
        await until(lambda: all(is_told(each, 2) for each in (one, other)), "both tell of both")


_SCENE = """
import json, os, sys
from tasker_health import Health
from tasker_health.testing import FixedSource, settings_of

health = Health(settings_of())
health.add_source(FixedSource())
skin = health.wsgi()

def ask(name):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/tasker/health/{name}"}
    return json.loads(b"".join(skin(environ, lambda *given: None)))

ask("status")
assert "healthy" in ask("history")["status"]
child = os.fork()
if child == 0:
    assert set(ask("history")["status"]) == {None}
    ask("status")
    assert "healthy" in ask("history")["status"]
    skin.stop()
    os._exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert "healthy" in ask("history")["status"]
skin.stop()
print("well")
"""


@pytest.mark.parametrize("mode", [[], ["-X", "dev", "-W", "error"]], ids=["plain", "dev"])
def test_a_process_that_was_forked_tells_what_it_has_seen_itself(mode):
    """The child knows nothing of what the parent was asked, and the parent goes on."""
    ended = subprocess.run(
        [sys.executable, *mode, "-c", _SCENE], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "well\n"), ended.stderr
