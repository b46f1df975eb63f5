"""A server under measurement: started on a free port, its processor time read, ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import SERVER_CORE, pin

PATIENCE_SECONDS = 30
_QUIET = {"TASKER_GUARD__ENABLED": "false", "TASKER_LOG__LEVEL": "warning", "TASKER_SERVER__DRAIN_SECONDS": "0"}


class SubjectError(Exception):
    """A server did not come up; the message holds its last words."""


@dataclass
class Subject:
    """One server process and the path that is asked of it.

    Attributes:
        name: What the row is called.
        module: Started as `python -m module`, followed by `arguments`.
        path: What is asked.
        environment: Added to this process' own; the port is given as `TASKER_SERVER__PORT`.
    """

    name: str
    module: str
    path: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _workers: tuple[int, ...] = ()

    @property
    def url(self) -> str:
        """What a client asks."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def cpu_seconds(self) -> float:
        """User and system time that all threads of the process and its workers have used, to the nanosecond."""
        # The clock of another process, as clock_getcpuclockid(3) makes it; /proc/<pid>/stat counts in 10 ms.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in (self._running.pid, *self._workers))

    def launch(self) -> None:
        """Start the process; it is not waited for."""
        self.port = free_port()
        environment = {**os.environ, **_QUIET, **self.environment, "TASKER_SERVER__PORT": str(self.port)}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments],
            env=environment,
            cwd=Path(__file__).parents[1],
            stdout=self._errors,
            stderr=self._errors,
        )

    def await_answer(self, pause_seconds: float = 0.01) -> bytes:
        """Return the first good answer (2xx), head and body.

        Raises:
            SubjectError: There is none in time.
        """
        ends_at = time.monotonic() + PATIENCE_SECONDS
        answer = b""
        while time.monotonic() < ends_at and self._running.poll() is None:
            with contextlib.suppress(OSError):
                answer = ask(self.port, self.path)
                if answer.startswith(b"HTTP/1.1 2"):
                    return answer
            time.sleep(pause_seconds)
        self._errors.seek(0)
        raise SubjectError(f"{self.name}: {answer[:300]!r} {self._errors.read()[-2000:].decode(errors='replace')}")

    def end(self) -> None:
        """End the process, gently first."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        self._process = None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SubjectError(f"{self.name} is not started")
        return self._process

    @contextlib.contextmanager
    def running(self) -> Iterator[Subject]:
        """Run it on the server's core for as long as the block takes, once it has answered."""
        self.launch()
        try:
            pin(self._running.pid, SERVER_CORE)
            self.await_answer()
            self._workers = _children(self._running.pid)
            for pid in self._workers:
                pin(pid, SERVER_CORE)
            yield self
        finally:
            self.end()


def _children(pid: int) -> tuple[int, ...]:
    return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, accept: str = "*/*") -> bytes:
    """Return the whole answer to one GET.

    Raises:
        OSError: There is none.
    """
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode()
        )
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)
