"""The application and its guard as processes: started, asked, counted and ended."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import canary
from faults.asker import ask
from server import free_port, wait_until

STALL_SECONDS = 5
PATIENCE_SECONDS = 60
LIVE, READY = "/tasker/health/live", "/tasker/health/ready"


class Pod:
    """`application.py`, or another one of this folder, on uvicorn with a guard beside it.

    Args:
        url: Of the database that its readiness asks.
        cache_url: Of the cache that it shares with others; empty: none.
        application: Which one.
        like: The pod in whose place it comes, at the same ports.
        variables: Of its environment, beside or in place of what all pods are told.

    Attributes:
        port: Of the application.
        guard_port: Of the guard.
    """

    def __init__(self, url, cache_url="", *, application="application", like=None, **variables):
        self.port, self.guard_port = (like.port, like.guard_port) if like else (free_port(), free_port())
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        variables = {
            "TASKER_GUARD__ENABLED": "true",
            "TASKER_SERVER__DRAIN_SECONDS": "1",
            "TASKER_GUARD__PORT": str(self.guard_port),
            "TASKER_HEALTH__LIVENESS_STALL_SECONDS": str(STALL_SECONDS),
            "TASKER_DATABASE__URL": url,
            **({"TASKER_CACHE__URL": cache_url} if cache_url else {}),
            **variables,
        }
        words = ["--app-dir", str(Path(__file__).parent), "--port", str(self.port), "--no-access-log"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", f"{application}:app", *words],
            env={**environment, **variables},
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self.wait_for(self.guard_port, 200)
        except BaseException:
            self.end()
            raise

    @property
    def log(self):
        """What both have written."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def tell(self, path):
        """Have the application do what *path* says; return once it has."""
        assert ask(self.port, path, patience_seconds=PATIENCE_SECONDS)[0].code == 200, self.log

    def begin(self, path):
        """Have the application begin with what *path* says, and do not wait for the end of it."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())

    def wait_for_reasons(self, port, reasons):
        """Wait until `/ready` at *port* is 200 and names one of *reasons*, or none if they are none; return when."""

        def asked():
            (probe,) = ask(port, READY)
            is_so = set(reasons) & set(probe.reasons) if reasons else not probe.reasons
            return probe.sent_at if probe.code == 200 and is_so else None

        return wait_until(asked, f"ready names {reasons}: {self.log[-2000:]}", PATIENCE_SECONDS)

    def wait_for(self, port, code):
        """Wait until `/ready` is answered with *code* at *port*, and return the moment at which that was asked."""

        def asked():
            probe = ask_once(port, READY)
            return probe[1] if probe[0] == code else None

        return wait_until(asked, f"ready answers {code}: {self.log[-2000:]}", PATIENCE_SECONDS)

    def counts(self):
        """Return threads and file descriptors of the application and of the guard."""
        found = {}
        for name, pid in (("application", self.process.pid), ("guard", self._guard_pid())):
            found[f"threads of the {name}"] = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
            found[f"descriptors of the {name}"] = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return found

    def spare_bytes(self):
        """Return how much more memory the application may take; infinite without a limit."""
        limit, _ = resource.prlimit(self.process.pid, resource.RLIMIT_AS)
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[0])
        return math.inf if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()

    def terminate(self):
        """End it by SIGTERM; return how many seconds that took, or `None` if it did not end."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began

    def guard_is_gone(self):
        """Wait until nobody listens on the guard's port; return whether that came true."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while ask_once(self.guard_port, LIVE)[0] and time.monotonic() < ends_at:
            time.sleep(0.02)
        return time.monotonic() < ends_at

    def end(self):
        """End it at once; the guard follows."""
        self.process.kill()
        self.process.wait()
        canary.look("the log of an application", self.log)
        self._log.close()

    def _guard_pid(self):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                name, _, rest = stat.read_text().rpartition(")")
                if rest.split()[1] == str(self.process.pid) and name.endswith("(tasker-guard"):
                    return int(stat.parent.name)
        raise AssertionError(f"there is no guard: {self.log}")


def ask_once(port, path):
    """Return code and moment of one question from this process; code 0: no answer."""
    began = time.monotonic()
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = connection.recv(65536)
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0, began
