"""The guard beside the real server: it answers what the application says, and what the application cannot say."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from served import Served, served
from server import free_port, wait_until

PATIENCE_SECONDS = 60


class Beside:
    """The guard of a server."""

    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/tasker/health"

    def get(self, path):
        """Return the answer over a new connection, or `None` where nobody listens."""
        try:
            return httpx.get(f"{self.url}/{path}", timeout=PATIENCE_SECONDS)
        except httpx.TransportError:
            return None

    def becomes(self, path, code, words=""):
        """Wait until *path* is answered with *code* and *words*, and return how long that took."""
        began = time.monotonic()

        def there():
            answer = self.get(path)
            return answer is not None and answer.status_code == code and words in answer.text

        wait_until(there, f"the guard answers {path} with {code} {words}", PATIENCE_SECONDS)
        return time.monotonic() - began

    @property
    def process(self):
        """Process id of the guard, found by the port that it listens on."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(b"tasker_health.guard.process" in word for word in words) and self._listens(entry):
                return int(entry.name)
        return None

    def _listens(self, entry):
        inodes = {
            line.split()[9]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A"
        }
        for descriptor in (entry / "fd").iterdir():
            try:
                if any(str(descriptor.readlink()) == f"socket:[{inode}]" for inode in inodes):
                    return True
            except OSError:
                continue
        return False


@pytest.fixture
def guard():
    """A guard's place on a free port."""
    return Beside(free_port())


def settings(guard, **more):
    """Return the environment of a server with *guard*."""
    return {"TASKER_GUARD__PORT": str(guard.port), "TASKER_HEALTH__LIVENESS_STALL_SECONDS": "5", **more}


def test_it_answers_what_the_application_answers(guard):
    """live, ready, a check and startup are equal but for their time; status is not there."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        for path in ("live", "ready", "ready/configuration", "startup"):
            theirs, ours = guard.get(path), server.get(path)
            assert theirs.status_code == ours.status_code == 200
            assert theirs.json().keys() == ours.json().keys()
            assert {**theirs.json(), "timestamp": ""} == {**ours.json(), "timestamp": ""}
            names = ("content-type", "cache-control", "x-content-type-options")
            assert [theirs.headers[name] for name in names] == [ours.headers[name] for name in names]
        assert guard.get("status").status_code == 404
        assert guard.get("ready/nothing").status_code == 404
    assert guard.get("live") is None


def test_a_wedged_application_is_said_to_be_and_comes_back(guard):
    """Stopped: ready 503 `stalled` soon, live 503 after the threshold; continued: both 200 again."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert guard.get("live").status_code == 200
            guard.becomes("ready", 503, "stalled")
            guard.becomes("live", 503, '"reason":"event_loop_stalled"')
            body = guard.get("live").json()
            assert (body["alive"], body["stalled_seconds"] >= 5) == (False, True)
        finally:
            server.process.send_signal(signal.SIGCONT)
        guard.becomes("live", 200)
        guard.becomes("ready", 200)


def test_a_database_that_hangs_stalls_nobody(guard, own_postgres):
    """A dependency's fault makes ready 503 with its own reason, and live stays 200."""
    with served(**settings(guard, TASKER_DATABASE__URL=own_postgres.url)) as server:
        guard.becomes("ready", 200)
        own_postgres.pause()
        guard.becomes("ready", 503, '"reason":"timeout"')
        ends_at = time.monotonic() + 6
        while time.monotonic() < ends_at:
            assert guard.get("live").status_code == 200
        own_postgres.resume()
        guard.becomes("ready", 200)
        assert server.get("live").status_code == 200


def test_a_guard_that_dies_is_started_again(guard):
    """Killed: another one answers on the same port, with the application's reports."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        first = guard.process
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: guard.process not in {None, first}, "there is another guard")
        guard.becomes("ready", 200)
        assert "starting it again" in server.log


def test_an_application_that_is_killed_takes_its_guard_along(guard):
    """The port is free within seconds, for whoever is started next."""
    server = Served(**settings(guard))
    try:
        guard.becomes("ready", 200)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: guard.get("live") is None, "nobody listens", 10)
        with socket.create_server(("127.0.0.1", guard.port)):
            pass
    finally:
        server.stop()
        server.close()


def test_a_taken_port_of_the_guard_ends_serve_with_2():
    """One line names the port and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        done = subprocess.run(
            [sys.executable, "-m", "tasker_health", "serve"],
            env={**environment, "TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"guard.port = {port}" in done.stderr
    assert "TASKER_GUARD__PORT" in done.stderr


def test_without_a_guard_nothing_listens(guard):
    """`guard.enabled = false` starts none."""
    with served(**settings(guard, TASKER_GUARD__ENABLED="false")) as server:
        assert server.get("live").status_code == 200
        assert guard.get("live") is None


def test_draining_fails_readiness_at_once_and_loses_no_request(guard):
    """SIGTERM: unready at both ports, requests of a keep-alive client go on; then the server ends with 0."""
    server = Served(**settings(guard, TASKER_SERVER__DRAIN_SECONDS="2"))
    codes, failures, over = [], [], threading.Event()

    def ask():
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not over.is_set():
                try:
                    codes.append(client.get(f"{server.url}/live").status_code)
                except httpx.TransportError as error:
                    failures.append(error)
                    return

    try:
        guard.becomes("ready", 200)
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        server.process.send_signal(signal.SIGTERM)
        guard.becomes("ready", 503, '"reason":"draining"')
        response = server.get("ready")
        assert (response.status_code, response.json()["failed_checks"]) == (503, ["server"])
        assert response.headers["connection"] == "close"
        assert server.get("live").status_code == 200
        seen = len(codes)
        wait_until(lambda: len(codes) > seen + 20, "requests go on")
        assert failures == []
        over.set()
        for asker in askers:
            asker.join()
        assert server.process.wait(PATIENCE_SECONDS) == 0
    finally:
        over.set()
        server.stop()
        server.close()
    assert set(codes) == {200}


def test_a_second_sigterm_hurries_it(guard):
    """With minutes to drain it ends at once."""
    server = Served(**settings(guard, TASKER_SERVER__DRAIN_SECONDS="600"))
    try:
        guard.becomes("ready", 200)
        server.process.send_signal(signal.SIGTERM)
        guard.becomes("ready", 503, "draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
    finally:
        server.stop()
        server.close()


APPLICATION = """
import time
from tasker_health import Health

health = Health()

@health.check("block", critical=False)
async def block():
    pass

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/block":
        time.sleep(8)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = health.asgi(app)
"""


def test_workers_of_one_application_share_a_guard_and_one_that_blocks_is_degraded(guard, tmp_path):
    """Two uvicorn workers: one guard; while one of them is wedged the pod is alive, ready, and says `workers`."""
    (tmp_path / "application.py").write_text(APPLICATION)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    variables = settings(guard, TASKER_GUARD__ENABLED="true")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "application:app", "--workers", "2", "--port", str(port)],
            cwd=tmp_path,
            env={**environment, **variables},
            stdout=log,
            stderr=log,
        )
    try:
        guard.becomes("ready", 200)
        blocked = threading.Thread(target=lambda: httpx.get(f"http://127.0.0.1:{port}/block", timeout=PATIENCE_SECONDS))
        blocked.start()
        guard.becomes("ready", 200, '"workers":{"status":"degraded","reason":"stalled"}')
        assert guard.get("live").status_code == 200
        blocked.join()
        wait_until(lambda: "workers" not in guard.get("ready").text, "the worker is well again")
        assert "block" in (tmp_path / "log").read_text()  # where its threads stood
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    wait_until(lambda: guard.get("live") is None, "the guard ends with its workers")
