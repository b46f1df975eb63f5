"""Hours of probes in minutes: nothing grows. Run by `./dev soak`; SOAK_SECONDS says how long (600)."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import httpx
import pytest

from served import served
from server import free_port, wait_until

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))


def held(pid: int) -> tuple[int, int]:
    """Return how many descriptors and threads process *pid* has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))


def resident_kib(pid: int) -> int:
    """Return the resident memory of process *pid*."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_nothing_grows_under_probes_while_the_database_comes_and_goes(tmp_path):
    """Descriptors and threads are as before, within one, and memory within a tenth, at every return of the database."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    guard = free_port()
    with served(TASKER_DATABASE__URL=f"sqlite:///{file}", TASKER_GUARD__PORT=str(guard)) as server:
        server.becomes("database", 200, "ok", None)
        urls = [f"{server.url}/{path}" for path in ("live", "ready", "status")]
        urls += [f"http://127.0.0.1:{guard}/tasker/health/{path}" for path in ("live", "ready")]
        ends_at, before, memory, asked = time.monotonic() + SECONDS, None, 0, 0
        while time.monotonic() < ends_at:
            round_ends_at = time.monotonic() + 10
            with httpx.Client(timeout=30) as client:
                while time.monotonic() < round_ends_at:
                    assert {client.get(url).status_code for url in urls} <= {200, 503}
                    asked += len(urls)
            file.rename(tmp_path / "away")
            server.becomes("database", 503, "error", "missing")
            (tmp_path / "away").rename(file)
            server.becomes("database", 200, "ok", None)
            server.bodies.clear()
            now = held(server.process.pid)
            if before is None:
                before, memory = now, resident_kib(server.process.pid)
            wait_until(
                lambda: all(abs(a - b) <= 1 for a, b in zip(held(server.process.pid), before, strict=True)),  # noqa: B023
                f"descriptors and threads are {before} again, not {now}",
            )
        assert resident_kib(server.process.pid) < memory * 1.1, f"after {asked} probes"
