"""`health.serve_in_background()`: a worker without HTTP has a port of its own and a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from beside import PATIENCE_SECONDS, Beside, settings
from fakes import settings_of
from server import free_port, wait_until
from tasker_health import Health
from tasker_health.errors import ConfigurationError

STALL_SECONDS = 5
"""The least that the settings allow; `beside.settings` says it."""

BEGINNING = """
import asyncio, os, sys, threading, time, urllib.request
from tasker_health import Health

health = Health()

@health.check("well")
async def well():
    pass

def code(url):
    return urllib.request.urlopen(url, timeout=60).status
"""

THREAD = (
    BEGINNING
    + """
serving = health.serve_in_background()
for where in (serving.url, serving.guard_url):
    assert [code(f"{where}/{what}") for what in ("live", "startup", "ready")] == [200] * 3
assert code(f"{serving.url}/status") == 200
assert health.serve_in_background() is serving
serving.stop()
assert not serving.is_serving
print("well")
"""
)

CHILD = (
    BEGINNING
    + """
before = health.serve_in_background()
child = os.fork()
if child == 0:
    try:
        own = health.serve_in_background()
        assert own.url != before.url
        assert code(f"{own.url}/ready") == 200
        own.stop()
        os._exit(7)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert code(f"{before.url}/ready") == 200
assert code(f"{before.guard_url}/live") == 200
before.stop()
print("well")
"""
)

LOOP = (
    BEGINNING
    + """
async def main():
    serving = health.serve_in_background()
    assert await asyncio.to_thread(code, f"{serving.url}/ready") == 200
    assert await asyncio.to_thread(code, f"{serving.guard_url}/live") == 200

asyncio.run(main())
print("well")
"""
)

AGAIN = (
    BEGINNING
    + """
def left():
    return len(threading.enumerate()), len(os.listdir("/proc/self/fd"))

def once():
    serving = health.serve_in_background()
    assert code(f"{serving.url}/ready") == 200
    serving.stop()

once()
before = left()
for _ in range(30):
    once()
assert left() == before, (before, left())
print("well")
"""
)

WORKER = (
    BEGINNING
    + """
def work():
    while True:
        time.sleep(0.1)
        if os.path.exists(sys.argv[1]):
            time.sleep(600)

async def work_on_loop():
    health.serve_in_background()
    while True:
        await asyncio.sleep(0.1)
        if os.path.exists(sys.argv[1]):
            time.sleep(600)

if sys.argv[2] == "thread":
    health.serve_in_background()
    work()
asyncio.run(work_on_loop())
"""
)


def environment(**variables):
    """Return an environment without settings of the machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    return {**clean, **variables}


# asyncio's debug mode tells of a callback that takes 0.1 s, which on a busy machine any does.
LOOP_ALONE = pytest.param(LOOP, id="loop", marks=pytest.mark.alone)


@pytest.mark.parametrize("script", [THREAD, CHILD, LOOP_ALONE, AGAIN], ids=["thread", "child", None, "again"])
def test_a_script_is_served_and_leaves_nothing(script):
    """Ports of its own, a child of its own, the end of a loop, thirty times: no warning, no thread, no descriptor."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        env=environment(TASKER_SERVER__PORT="0", TASKER_GUARD__PORT="0"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 2,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


@pytest.mark.parametrize("where", ["thread", "loop"])
def test_liveness_is_that_of_the_loop_that_is_there(where, tmp_path):
    """A worker's own loop that is blocked is not alive; a main thread that waits is no stall. SIGTERM ends it all."""
    guard, served, blocked = Beside(free_port()), Beside(free_port()), tmp_path / "blocked"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(blocked), where],
        env=environment(**settings(guard, TASKER_SERVER__PORT=str(served.port))),
    )
    try:
        guard.becomes("ready", 200)
        served.becomes("ready", 200)
        blocked.touch()
        if where == "loop":
            guard.becomes("live", 503, "event_loop_stalled")
        else:
            ends_at = time.monotonic() + STALL_SECONDS + 1.5
            while time.monotonic() < ends_at:
                assert guard.get("live").status_code == 200
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == -signal.SIGTERM
        wait_until(lambda: guard.get("live") is None, "the guard ends with its worker")
    finally:
        worker.kill()
        worker.wait(PATIENCE_SECONDS)


def test_a_port_that_is_taken_is_one_line_and_nothing_stays():
    """It names the setting; when the port is free the same call succeeds."""
    first = Health(settings_of(server={"port": 0}, guard={"enabled": False})).serve_in_background()
    port = httpx.URL(first.url).port
    second = Health(settings_of(server={"port": port}, guard={"enabled": False}))
    with pytest.raises(ConfigurationError, match=rf"server.port = {port}: the port is in use"):
        second.serve_in_background()
    first.stop()
    again = second.serve_in_background()
    assert (httpx.get(f"{again.url}/live").status_code, again.guard_url) == (200, "")
    again.stop()


def test_without_a_server_installed_it_is_one_line_with_the_remedy(monkeypatch):
    """Uvicorn is an extra."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in ("tasker_health.web.background", "tasker_health.web.server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ConfigurationError, match=r"uvicorn is not installed; pip install 'tasker-health\[server\]'"):
        Health(settings_of()).serve_in_background()
