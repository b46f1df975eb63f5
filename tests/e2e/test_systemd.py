"""What systemd is told by real servers, at a socket of the tests' own: ready, alive, stopping."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import canary
from beside import Beside
from served import served
from server import free_port, wait_until
from service_manager import ServiceManager

PATIENCE_SECONDS = 60
WATCHDOG_SECONDS = 0.4
SILENCE_SECONDS = 1.0

APPLICATION = """
import asyncio, contextlib, os, pathlib, subprocess, time
from tasker_health import Health

health = Health()
declared = health.wait_for("warm_up")
if "DECLARES_NOTHING" in os.environ:
    declared()

def there(name):
    return pathlib.Path(name).exists()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        while not there("started"):
            await asyncio.sleep(0.02)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"ok"
    if scope["path"] == "/declared":
        declared()
    if scope["path"] == "/block":
        pathlib.Path("blocked").touch()
        while there("blocked"):
            time.sleep(0.02)
    if scope["path"] == "/environment":
        body = subprocess.run(["env"], capture_output=True).stdout
    if scope["path"] == "/pid":
        body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

app = health.asgi(app)
"""

WITHOUT_A_PORT = """
import asyncio, socket, sys
from tasker_health import Health, load_settings

async def run():
    health = Health(load_settings(environ={}))
    await health.start()
    await asyncio.to_thread(sys.stdin.readline)
    with socket.create_server(("127.0.0.1", 0)):
        await asyncio.to_thread(sys.stdin.readline)
    await health.stop()

asyncio.run(run())
"""


@pytest.fixture
def manager(tmp_path):
    """Who is told."""
    made = ServiceManager(tmp_path / "notify")
    yield made
    made.close()


class Application:
    """An application under uvicorn, started as systemd starts it: with its own process id in WATCHDOG_PID."""

    def __init__(self, folder, manager, *words, descriptors=(), **variables):
        (folder / "application.py").write_text(APPLICATION)
        self.folder = folder
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        line = 'WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=$$ exec "$@"'
        command = [sys.executable, "-m", "uvicorn", "--port", str(self.port), *words, "application:app"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", line, "sh", *command],
                cwd=folder,
                env={**environment, **manager.variables(WATCHDOG_SECONDS), **variables},
                pass_fds=descriptors,
                stdout=log,
                stderr=log,
            )

    def get(self, path):
        """Return what the application answers."""
        return httpx.get(f"http://127.0.0.1:{self.port}/{path}", timeout=PATIENCE_SECONDS).text

    def answers(self):
        """Whether its port takes connections."""
        try:
            return self.get("")
        except httpx.TransportError:
            return ""


@contextmanager
def running(folder, manager, *words, **options):
    """Run the application until the block ends."""
    application = Application(folder, manager, *words, **options)
    try:
        yield application
    finally:
        application.process.terminate()
        try:
            application.process.wait(PATIENCE_SECONDS)
        finally:
            application.process.kill()
            application.process.wait()
            canary.look("the log of an application", (folder / "log").read_text(errors="replace"))


def test_serve_tells_its_whole_life(manager):
    """Ready, fed, silent while it is stopped, fed again, draining; one process says so, and no child could."""
    guard = Beside(free_port())
    variables = {"TASKER_GUARD__PORT": str(guard.port), "TASKER_SERVER__DRAIN_SECONDS": "1"}
    with served(**manager.variables(WATCHDOG_SECONDS), **variables) as server:
        manager.wait_for("READY", "1")
        assert server.get("ready").status_code == 200
        manager.wait_for("STATUS", "ready")
        manager.fed()
        inherited = Path(f"/proc/{guard.process}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in inherited
        assert b"WATCHDOG" not in inherited
        server.process.send_signal(signal.SIGSTOP)
        manager.starves(SILENCE_SECONDS)
        assert guard.get("live").status_code == 200  # the guard goes on, and does not speak for it
        server.process.send_signal(signal.SIGCONT)
        manager.fed()
        assert not manager.all("STOPPING")
        server.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING", "1")
        assert manager.all("STATUS")[-1] == "draining"
        assert int(manager.all("EXTEND_TIMEOUT_USEC")[-1]) > 1e6
        assert {pid for _, pid, _ in manager.told} == {server.process.pid}
    assert manager.all("READY") == ["1"]
    assert manager.all("STOPPING") == ["1"]


def test_a_database_that_is_away_stops_nothing(manager):
    """The service is ready for systemd and fed; its line says what is missing, without where it is."""
    url = f"postgresql://tester:{canary.secret('database')}@127.0.0.1:{free_port()}/orders"
    with served(**manager.variables(WATCHDOG_SECONDS), TASKER_DATABASE__URL=url):
        manager.wait_for("READY", "1")
        manager.wait_for("STATUS", "not ready: database")
        manager.fed()
    canary.look("what systemd is told", str(manager.told))
    assert manager.all("STATUS")[-1] == "stopping"


def test_an_application_is_ready_when_it_serves_and_what_it_declared_is_done(manager, tmp_path):
    """Not while its lifespan starts, nor while it warms up; fed all the time; silent while its loop is blocked."""
    with running(tmp_path, manager) as application:
        manager.wait_for("STATUS", "starting: warm_up")
        manager.fed(4)
        assert not application.answers()
        (tmp_path / "started").touch()
        wait_until(application.answers, "it serves")
        manager.fed(4)
        assert not manager.all("READY")
        application.get("declared")
        manager.wait_for("READY", "1")
        assert manager.senders("READY") == {int(application.get("pid"))} == {application.process.pid}
        environment = application.get("environment")
        assert "PATH=" in environment
        assert "NOTIFY_SOCKET" not in environment
        assert "WATCHDOG" not in environment
        blocking = subprocess.Popen(
            [sys.executable, "-c", f"import httpx; httpx.get('http://127.0.0.1:{application.port}/block', timeout=60)"]
        )
        wait_until((tmp_path / "blocked").exists, "its loop is blocked")
        manager.starves(SILENCE_SECONDS)
        (tmp_path / "blocked").unlink()
        manager.fed()
        assert blocking.wait(PATIENCE_SECONDS) == 0
        assert not manager.all("STOPPING")
    assert manager.all("STOPPING") == ["1"]


def test_it_is_not_ready_before_its_port_is_open(manager):
    """Nothing else holds it back: what has started and does not listen serves nobody yet."""
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_A_PORT],
        env={**os.environ, **manager.variables(WATCHDOG_SECONDS)},
        stdin=subprocess.PIPE,
    ) as process:
        manager.fed(4)
        assert not manager.all("READY")
        process.stdin.write(b"listen\n")
        process.stdin.flush()
        manager.wait_for("READY", "1")
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_it_is_not_ready_while_its_lifespan_starts(manager, tmp_path):
    """Nothing else holds it back: its socket was open before, as that of a supervisor's workers is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        words = ("--fd", str(descriptor))
        with running(tmp_path, manager, *words, descriptors=[descriptor], DECLARES_NOTHING="1"):
            manager.fed(4)
            assert not manager.all("READY")
            (tmp_path / "started").touch()
            manager.wait_for("READY", "1")


def test_workers_feed_for_their_supervisor_and_end_nothing(manager, tmp_path):
    """Each says that it is ready and alive; the end of one is not the service's."""
    (tmp_path / "started").touch()
    with running(tmp_path, manager, "--workers", "2") as application:
        wait_until(application.answers, "they serve")
        wait_until(lambda: len(manager.senders("WATCHDOG")) == 2, f"both feed; told: {manager.told}")
        workers = manager.senders("WATCHDOG")
        assert application.process.pid not in workers
        os.kill(min(workers), signal.SIGTERM)
        wait_until(lambda: len(manager.senders("WATCHDOG")) > 2, "another one takes its place")
    assert not manager.all("STOPPING")
    assert not manager.all("STATUS")


def test_a_socket_that_nobody_reads_hurts_nobody(manager):
    """It is full: the server serves, is asked, stops in time; when there is room it is told what was missed."""
    manager.fill()
    with served(**manager.variables(0.2)) as server:
        for _ in range(5):
            assert server.get("live").status_code == 200
            assert server.get("ready").status_code == 200
        manager.wait_for("READY", "1")
        manager.fill()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 30
