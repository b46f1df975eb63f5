"""A worker of DBOS that is killed while its work holds a queue: who is dead is told, and what waits behind it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import wait_until
from servers import sync_url
from tasker_health.clock import SystemClock
from tasker_health.database import Database
from tasker_health.settings import Settings
from tasker_health.sources.dbos import DbosSource
from tasker_health.work import Cause, Findings
from tasker_health.workers import Beat
from tasker_health.workers.chosen import chosen_ledger
from tasker_health.workers.roster import LedgerRoster

WORKER = Path(__file__).parent / "dbos_held_queue.py"
PERIOD_SECONDS = 0.5


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database for DBOS."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").new_database())
    return f"sqlite:///{tmp_path / 'dbos.db'}"


@contextlib.contextmanager
def _worker(url: str, ledger: str, executor: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the worker until both places are taken; it is killed at the end."""
    command = [sys.executable, str(WORKER), sync_url(url), ledger, executor]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            ready = any(line == "ready\n" for line in process.stdout)
            assert ready, log.read_text()[-3000:]
            yield process
        finally:
            process.kill()


def _causes(findings: Findings) -> dict[str, Cause]:
    return {task.id: task.cause for task in findings.tasks}


def test_a_killed_workers_tasks_are_named_and_what_waits_behind_them(url: str, tmp_path: Path):
    """While it lives nothing stands still; killed, its two tasks are `worker_dead`, and what is behind is `locked`.

    Another worker of the queue lives: DBOS gives the places of the dead one to nobody.
    """
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    opened = chosen_ledger(Settings(workers={"url": ledger}))
    assert opened is not None
    source = DbosSource("dbos", Database(url))
    with asyncio.Runner() as runner:
        source.roster = LedgerRoster(opened, heartbeat_seconds=PERIOD_SECONDS, clock=SystemClock())

        def found() -> dict[str, Cause]:
            return _causes(runner.run(source.stuck(30, 100)))

        with _worker(url, ledger, "killed", tmp_path / "worker.log"):
            wait_until(lambda: runner.run(source.read(30)).blocked == 0, "the worker is known")
            facts = runner.run(source.read(30))
            assert (facts.running, facts.pending, found()) == (2, 1, {})
        lives = Beat(
            worker_id="lives", engine="dbos", host="here", pid=1, version="v1", queues=("held",), period_seconds=300
        )
        runner.run(opened.beat(lives))
        expected = {"one": Cause.WORKER_DEAD, "two": Cause.WORKER_DEAD, "behind": Cause.LOCKED}
        wait_until(lambda: found() == expected, "all three are named")
        facts = runner.run(source.read(30))
        assert facts.blocked == 3
        assert facts.causes is not None
        assert facts.causes[Cause.WORKER_DEAD] == 2
        runner.run(source.close())
        runner.run(opened.close())
