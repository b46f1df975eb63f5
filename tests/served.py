"""The real server of ours, as a user starts it: a process with settings from its environment."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

import canary
from server import wait_until

PATIENCE_SECONDS = 60
FREE = {"TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": "0", "TASKER_SERVER__DRAIN_SECONDS": "0"}
"""Ports that nobody listens on, and an end without delay."""


class Served:
    """`tasker-health serve` in a process of its own, on a free port.

    Attributes:
        url: Of the endpoints, such as `http://127.0.0.1:34567/tasker/health`.
    """

    def __init__(self, **variables: str) -> None:
        self._log_file = tempfile.NamedTemporaryFile(mode="w+b", suffix=".log")  # noqa: SIM115 -- lives as long as we do
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-m", "tasker_health", "serve"],
            env={**environment, **FREE, **variables},
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
        )
        found = wait_until(lambda: self.ended or re.search(r"serving (https?://\S+)", self.log), "the server is open")
        if found is True:
            raise AssertionError(self.log)
        self.url = found.group(1)
        self._client = httpx.Client(timeout=PATIENCE_SECONDS)
        self.bodies: list[str] = []

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def log(self) -> str:
        """What it has written so far."""
        return Path(self._log_file.name).read_text(errors="replace")

    def get(self, path: str) -> httpx.Response:
        """Return the answer of the endpoint *path*, such as `ready`."""
        response = self._client.get(f"{self.url}/{path}")
        self.bodies.append(response.text)
        return response

    def ready(self) -> dict[str, Any]:
        """Return the body of `/ready`."""
        body: dict[str, Any] = json.loads(self.get("ready").text)
        return body

    def reason(self, check: str) -> tuple[int, str, str | None]:
        """Return the code of `/ready`, and status and reason of *check* there."""
        response = self.get("ready")
        result = response.json()["checks"][check]
        return response.status_code, result["status"], result.get("reason")

    def becomes(self, check: str, code: int, status: str, reason: str | None) -> None:
        """Wait until `/ready` answers *code* and *check* has *status* and *reason*."""
        wait_until(
            lambda: self.reason(check) == (code, status, reason),
            f"{check} is {status}/{reason} with {code}, log: {self.log[-1500:]}",
        )

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        self._client.close()
        if not self.ended:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Forget the log, after a look for secrets."""
        canary.look("the log of a server", self.log)
        self._log_file.close()


@contextlib.contextmanager
def served(**variables: str) -> Iterator[Served]:
    """Yield a running server with *variables* in its environment; it must end cleanly."""
    server = Served(**variables)
    try:
        try:
            yield server
        finally:
            code = server.stop()
        assert code == 0, server.log
        assert "Traceback" not in server.log, server.log
        assert "Warning" not in server.log, server.log
    finally:
        server.close()
