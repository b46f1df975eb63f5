"""Skins under real servers, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from frameworks.exchange import Connection
from frameworks.table import TABLE
from server import free_port, wait_until

PATIENCE_SECONDS = 60
_TESTS = str(Path(__file__).parents[1])

ROOT = "/behind/a/proxy"
"""Where a server is told that its application is mounted."""

_GUNICORN = ["gunicorn", "--no-control-socket", "--bind", "127.0.0.1:PORT", "APP"]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "PORT", "--no-ws", "--interface"]
SERVERS = {
    "uvicorn": ["uvicorn", "--port", "PORT", "--no-access-log", "APP"],
    "uvicorn, h11": ["uvicorn", "--port", "PORT", "--no-access-log", "--http", "h11", "--loop", "asyncio", "APP"],
    "granian": [*_GRANIAN, "asgi", "APP"],
    "granian, wsgi": [*_GRANIAN, "wsgi", "APP"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:PORT", "APP"],
    "hypercorn, wsgi": ["hypercorn", "--bind", "127.0.0.1:PORT", "wsgi:APP"],
    "gunicorn, uvicorn": [*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker"],
    "gunicorn, sync": [*_GUNICORN, "--worker-class", "sync"],
    "gunicorn, gthread": [*_GUNICORN, "--threads", "4"],
    "uvicorn, below a root path": ["uvicorn", "--port", "PORT", "--no-access-log", "--root-path", ROOT, "APP"],
    "granian, below a root path": [*_GRANIAN, "asgi", "--url-path-prefix", ROOT, "APP"],
    "granian, wsgi below a root path": [*_GRANIAN, "wsgi", "--url-path-prefix", ROOT, "APP"],
    "hypercorn, below a root path": ["hypercorn", "--bind", "127.0.0.1:PORT", "--root-path", ROOT, "APP"],
    "gunicorn, below a script name": [*_GUNICORN, "--env", f"SCRIPT_NAME={ROOT}"],
    "uvicorn, reloading": ["uvicorn", "--port", "PORT", "--no-access-log", "--reload", "reloaded:app"],
    "hypercorn, reloading": ["hypercorn", "--bind", "127.0.0.1:PORT", "--reload", "reloaded:app"],
    "gunicorn, reloading": [
        *(*_GUNICORN[:-1], "reloaded:app", "--reload", "--reload-engine", "poll", "--config", "hook.py"),
    ],
    "aiohttp": ["frameworks.application", "PORT"],
}
_ASKED_WITH_ROOT = ("granian, below a root path", "granian, wsgi below a root path", "gunicorn, below a script name")
"""Who serves below it; the others are told what a proxy has taken off."""


class Serving:
    """A skin under a server.

    Args:
        skin: Module and function that build the application, such as `flask.wsgi`.
        server: Name of a server, or the words that start it.
        folder: Where its log is kept.
        variables: More of its environment.
    """

    def __init__(self, skin: str, server: str, folder: Path, *words: str, **variables: str) -> None:
        self.name = f"{skin} on {server}"
        self._root = ROOT if server in _ASKED_WITH_ROOT else ""
        self.port = free_port()
        self._log = folder / f"{self.name}.log".replace("/", "_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        places = {"PORT": str(self.port), "APP": "frameworks.application:app"}
        command = [*SERVERS[server], *words]
        for place, value in places.items():
            command = [word.replace(place, value) for word in command]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env={**environment, "PYTHONPATH": _TESTS, "SKIN": skin, **variables},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def ask_all(self, table=TABLE):
        """Return the answers to every row of *table*, by name."""
        wait_until(self._answers, f"{self.name} serves: {self.log[-2000:]}")
        connection = Connection(self.port)
        try:
            return {
                row.name: connection.ask(row.method, f"{self._root}{row.path}", row.headers, row.sent) for row in table
            }
        finally:
            connection.close()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        connection = Connection(self.port)
        try:
            connection.ask("GET", f"{self._root}/orders")
        except OSError:
            return False
        else:
            return True
        finally:
            connection.close()

    def kill(self) -> None:
        """End it and its workers at once, whatever they are busy with."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """End it by SIGTERM, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.kill()
