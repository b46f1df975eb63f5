"""One guard for all workers of an application, under the servers that people use; and SIGTERM there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest

from beside import PATIENCE_SECONDS, Beside, settings
from server import free_port, wait_until

APPLICATION = """
import time
from tasker_health import Health

health = Health()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/block":
        time.sleep(8)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = health.asgi(app)
"""

SERVERS = {
    "uvicorn": ["uvicorn", "--port", "PORT"],
    "uvicorn, spawned workers": ["uvicorn", "--workers", "2", "--port", "PORT"],
    "gunicorn, forked workers": [
        *("gunicorn", "--workers", "2", "--bind", "127.0.0.1:PORT"),
        *("--worker-class", "uvicorn_worker.UvicornWorker"),
    ],
    "gunicorn, loaded before the fork": [
        *("gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:PORT"),
        *("--worker-class", "uvicorn_worker.UvicornWorker"),
    ],
}


class Application:
    """An application under a server of somebody else's.

    Attributes:
        guard: What stands beside it.
        url: Its own.
    """

    def __init__(self, folder, server, **variables):
        (folder / "application.py").write_text(APPLICATION)
        self._log = folder / "log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.guard = Beside(free_port())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        words = [word.replace("PORT", str(port)) for word in SERVERS[server]]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words, "application:app"],
                cwd=folder,
                env={**environment, **settings(self.guard, TASKER_GUARD__ENABLED="true"), **variables},
                stdout=log,
                stderr=log,
            )

    @property
    def log(self):
        """What it has written so far."""
        return self._log.read_text(errors="replace")


@contextmanager
def running(folder, server, **variables):
    """Run the application under *server* until the block ends; its guard ends with it."""
    application = Application(folder, server, **{"TASKER_SERVER__DRAIN_SECONDS": "3", **variables})
    try:
        yield application
    finally:
        application.process.terminate()
        application.process.wait(PATIENCE_SECONDS)
    wait_until(lambda: application.guard.get("live") is None, "the guard ends with its workers")


@pytest.mark.parametrize("server", [name for name in SERVERS if "workers" in name or "fork" in name])
def test_workers_share_a_guard_and_one_that_blocks_is_degraded(tmp_path, server):
    """While one of two workers is wedged the pod is alive, ready, and says `workers`; its stacks are in the log."""
    with running(tmp_path, server) as application:
        guard = application.guard
        guard.becomes("ready", 200)
        blocked = threading.Thread(target=lambda: httpx.get(f"{application.url}/block", timeout=PATIENCE_SECONDS))
        blocked.start()
        guard.becomes("ready", 200, '"workers":{"status":"degraded","reason":"stalled"}')
        assert guard.get("live").status_code == 200
        blocked.join()
        wait_until(lambda: "workers" not in guard.get("ready").text, "the worker is well again")
        assert "application.py" in application.log  # where its threads stood


@pytest.mark.parametrize("server", SERVERS)
def test_sigterm_is_unready_first_and_loses_no_request(tmp_path, server):
    """The server gets the signal when it has drained; a keep-alive client is served until then."""
    codes, failures, over = [], [], threading.Event()

    def ask(url):
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not over.is_set():
                try:
                    codes.append(client.get(url).status_code)
                except httpx.TransportError as error:
                    failures.append(error)
                    return

    with running(tmp_path, server) as application:
        guard = application.guard
        guard.becomes("ready", 200)
        asker = threading.Thread(target=ask, args=[application.url])
        asker.start()
        wait_until(lambda: len(codes) > 5, "requests are answered")
        application.process.terminate()
        guard.becomes("ready", 503, '"reason":"draining"')
        seen = len(codes)
        wait_until(lambda: len(codes) > seen + 5, "requests go on")
        over.set()
        asker.join()
        assert application.process.wait(PATIENCE_SECONDS) in {0, -15}
    assert (set(codes), failures) == ({200}, [])


def test_a_second_sigterm_is_the_servers(tmp_path):
    """With minutes to drain, it ends at once."""
    with running(tmp_path, "uvicorn", TASKER_SERVER__DRAIN_SECONDS="600") as application:
        application.guard.becomes("ready", 200)
        application.process.terminate()
        application.guard.becomes("ready", 503, "draining")
        application.process.terminate()
        assert application.process.wait(PATIENCE_SECONDS) in {0, -15}
