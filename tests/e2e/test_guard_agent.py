"""The agent-check, over TCP and as the real HAProxy understands it."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from beside import PATIENCE_SECONDS, Beside, settings
from guarded import read_all, start_guard
from server import free_port, missing_part, wait_until

__all__ = ["start_guard"]

APPLICATION = """
import time
from tasker_health import Health

health = Health()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/busy":
        time.sleep(0.8)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = health.asgi(app)
"""

BALANCER = """
global
    stats socket {folder}/socket level admin
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{front}
    default_backend servers
backend servers
    # Not /ready: what is seen is then the agent's word alone.
    option httpchk GET /tasker/health/live
    default-server check inter 500 fall 20 weight 100 agent-check agent-inter 100
    server one 127.0.0.1:{port} port {guard} agent-port {agent}
"""


@pytest.fixture
def start_agent(start_guard):
    """A function that starts a guard with an agent, and one that asks that."""
    with contextlib.ExitStack() as opened:

        def start(**options):
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
            guard = start_guard(agent=listener.fileno(), heartbeat_seconds=0.25, lag_warning_seconds=0.5, **options)
            address = listener.getsockname()
            return guard, lambda: socket.create_connection(address, PATIENCE_SECONDS)

        yield start


def told(connect):
    """Return the whole answer of an agent."""
    with connect() as connection:
        return read_all(connection).decode()


def test_one_line_and_the_end(start_agent):
    """Unasked, whatever is sent, and without waiting for it; the probes' port says the same."""
    guard, connect = start_agent()
    assert told(connect) == "down #application\n"
    guard.worker().publish()
    guard.wait_for("ready", 200)
    assert told(connect) == "up 100%\n"
    for sent in (b"servers/one\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(100_000)):
        with connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(sent)
            assert read_all(connection) == b"up 100%\n"


def test_a_flood_neither_hangs_nor_fills_it(start_agent):
    """Thousands who connect and stay leave few connections in the guard; probers and other askers are answered."""
    guard, connect = start_agent()
    guard.worker().publish()
    guard.wait_for("ready", 200)
    wait_until(lambda: told(connect) == "up 100%\n", "it is told")
    before = len(guard.descriptors())
    with contextlib.ExitStack() as opened:
        for _ in range(800):
            opened.enter_context(connect())
        assert told(connect) == "up 100%\n"
        assert guard.ask("ready")[0] == 200
        wait_until(lambda: len(guard.descriptors()) <= before + 64, "few are kept")
        wait_until(lambda: len(guard.descriptors()) <= before, "and not for long, though nobody has closed them")
    assert guard.is_running
    assert guard.log == ""


class Balanced:
    """An application with two workers, and HAProxy before it.

    Attributes:
        url: Of the application itself.
        process: Its supervisor.
    """

    def __init__(self, folder):
        if shutil.which("haproxy") is None:
            missing_part("haproxy is not here: Debian's package of that name")
        (folder / "application.py").write_text(APPLICATION)
        self._socket = folder / "socket"
        port, agent, front = free_port(), free_port(), free_port()
        self.url, self.front = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{front}"
        self.guard = Beside(free_port())
        own = {"TASKER_GUARD__ENABLED": "true", "TASKER_GUARD__AGENT_PORT": str(agent)}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--workers", "2", "--port", str(port), "application:app"],
            cwd=folder,
            env={**environment, **settings(self.guard, **own, TASKER_SERVER__DRAIN_SECONDS="3")},
            stdout=self._log,
            stderr=self._log,
        )
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            BALANCER.format(folder=folder, front=front, port=port, guard=self.guard.port, agent=agent)
        )
        self._haproxy = subprocess.Popen(["haproxy", "-q", "-f", configuration], stdout=self._log, stderr=self._log)
        wait_until(self._socket.exists, "HAProxy listens")

    def command(self, words):
        """Return what HAProxy answers to *words* on its stats socket."""
        with socket.socket(socket.AF_UNIX) as asker:
            asker.settimeout(PATIENCE_SECONDS)
            asker.connect(str(self._socket))
            asker.sendall(f"{words}\n".encode())
            return read_all(asker).decode()

    @property
    def server(self):
        """Status and weight of the server, as HAProxy sees them; in maintenance it shows the weight only if asked."""
        rows = csv.DictReader(io.StringIO(self.command("show stat").removeprefix("# ")))
        [row] = [row for row in rows if row["svname"] == "one"]
        return row["status"].split()[0], int(self.command("get weight servers/one").split()[0])

    def becomes(self, status, least, most):
        """Wait until HAProxy says *status* and a weight from *least* to *most*."""

        def there():
            now, weight = self.server
            return now == status and least <= weight <= most

        wait_until(there, f"HAProxy says {status} and a weight from {least} to {most}")

    def end(self):
        """End all processes."""
        for process in (self._haproxy, self.process):
            process.terminate()
            process.wait(PATIENCE_SECONDS)
        self._log.close()


@pytest.fixture
def balanced(tmp_path):
    """An application behind HAProxy."""
    made = Balanced(tmp_path)
    yield made
    made.end()


def test_haproxy_sends_less_to_who_is_late_and_nothing_to_who_drains(balanced):
    """Its weight falls while the workers' loops are held up and rises afterwards; an operator's word is left alone."""
    balanced.becomes("UP", 100, 100)
    over = threading.Event()

    def keep_busy():
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not over.is_set():
                with contextlib.suppress(httpx.TransportError):
                    client.get(f"{balanced.url}/busy", headers={"connection": "close"})

    busy = [threading.Thread(target=keep_busy) for _ in range(4)]
    for thread in busy:
        thread.start()
    balanced.becomes("UP", 10, 70)
    balanced.command("set server servers/one state maint")
    over.set()
    for thread in busy:
        thread.join()
    balanced.becomes("MAINT", 80, 100)  # the agent was heard, and the operator's word holds
    balanced.command("set server servers/one state ready")
    balanced.becomes("UP", 80, 100)
    assert httpx.get(balanced.front).status_code == 200
    balanced.process.terminate()
    balanced.becomes("UP", 0, 0)
    assert httpx.get(balanced.front).status_code == 503  # nobody is left to take it
    assert httpx.get(balanced.url).status_code == 200  # what is there is still served
