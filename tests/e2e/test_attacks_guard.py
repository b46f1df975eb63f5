"""The guard has nothing to protect: no status, no credential and no secret of the settings ever reaches its process."""

from __future__ import annotations

import re
import sqlite3
from itertools import product
from pathlib import Path

import httpx
import pytest

from served import served
from server import wait_until

SECRETS = {
    "TASKER_CACHE__SIGNING_KEY": "canary-signing-key-7c1f",
    "TASKER_EXPORTERS__PROMETHEUS__TOKEN": "canary-metrics-token-92ab",
    "TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token",
    "ORDERS_API_KEY": "canary-of-the-application-55d0",
    "DATABASE_PASSWORD": "canary-password-31be",
}
CANARY = b"canary-"
PATIENCE_SECONDS = 60


@pytest.fixture
def server(tmp_path):
    """A server with a guard and secrets of every kind, in its settings and in its environment."""
    (tmp_path / "canary-of-a-path").mkdir()
    file = tmp_path / "canary-of-a-path" / "app.sqlite"
    sqlite3.connect(file).close()
    with served(TASKER_DATABASE__URL=f"sqlite:///{file}", **SECRETS) as running:
        wait_until(lambda: guard_answers(running, "ready").status_code == 200, "the guard has reports")
        running.get("status")
        running.get("ready")
        yield running


def guard_url(server):
    """Return where the guard of *server* listens."""
    return re.search(r"guard at (http://\S+)/health ", server.log).group(1)


def guard_answers(server, path):
    """Return the guard's answer to a path below `health`."""
    return httpx.get(f"{guard_url(server)}/health/{path}", timeout=PATIENCE_SECONDS)


def guard_of(server):
    """Return the folder in /proc of the guard of *server*."""
    for folder in Path("/proc").glob("[0-9]*"):
        stat = (folder / "stat").read_text() if (folder / "stat").exists() else ""
        if "(tasker-guard)" in stat and int(stat.rpartition(")")[2].split()[1]) == server.process.pid:
            return folder
    raise AssertionError("no guard")


def test_it_answers_404_for_all_that_somebody_may_not_see(server):
    """With credentials and without: there is nothing there that it could show."""
    token = SECRETS["TASKER_EXPORTERS__PROMETHEUS__TOKEN"]
    paths = (
        "/health/status",
        "/health",
        "/health/",
        "/metrics",
        "/openapi.json",
        "/health/%73tatus",
        "/health//status",
    )
    for path, method, headers in product(paths, ("GET", "HEAD", "POST"), ({}, {"authorization": f"Bearer {token}"})):
        answer = httpx.request(method, f"{guard_url(server)}{path}", headers=headers, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 404, path
        assert "canary" not in answer.text


def test_its_command_line_and_environment_hold_no_secret(server):
    """Neither a variable of ours nor one of the application is handed on."""
    guard = guard_of(server)
    words, variables = (guard / "cmdline").read_bytes(), (guard / "environ").read_bytes()
    assert b"memory=" in words  # it is the guard that is looked at
    assert CANARY not in words
    assert CANARY not in variables
    assert b"TASKER_" not in variables
    assert CANARY in Path(f"/proc/{server.process.pid}/environ").read_bytes()  # where they are, they are found


def test_its_memory_holds_no_secret(server):
    """Neither what the application publishes for it, nor anything else that it has in memory."""
    guard = guard_of(server)
    shared = [each for each in (guard / "fd").iterdir() if "memfd:" in str(each.readlink())]
    assert len({each.stat().st_ino for each in shared}) == 1
    published = shared[0].read_bytes()
    assert b'"database"' in published  # the reports are there
    assert CANARY not in published
    assert b"system_health" not in published
    assert CANARY not in memory_of(guard)
    assert CANARY in memory_of(Path(f"/proc/{server.process.pid}"))  # where they are, they are found


def memory_of(process):
    """Return everything that *process*, a folder in /proc, may write to, and its stack."""
    parts = []
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            begin, end = (int(each, 16) for each in line.split(" ", 1)[0].split("-"))
            if " rw" not in line or "[v" in line:
                continue
            memory.seek(begin)
            try:
                parts.append(memory.read(end - begin))
            except OSError:  # reserved, and never used
                continue
    return b"".join(parts)
