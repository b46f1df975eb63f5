"""A worker of Procrastinate in a process of its own: killed while it works, it is named dead, with its jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import procrastinate
import pytest

from contract.procrastinate_backend import ProcrastinateOnPostgres
from fakes import settings_of
from server import wait_until
from tasker_health.health import Health
from tasker_health.work import Cause

BEAT_SECONDS = 0.3

SCRIPT = """
import asyncio, os, sys, time
import procrastinate
from tasker_health import Health

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DSN"]))

@app.task(name="ship", queue="orders")
async def ship():
    print("ships", flush=True)
    until = time.monotonic() + 600
    while time.monotonic() < until:
        sum(range(1000))

health = Health()
health.worker(app, version="7")

async def main():
    async with app.open_async():
        await app.run_worker_async(queues=["orders"], install_signal_handlers=False)

asyncio.run(main())
"""


@pytest.fixture
def tables(postgres):
    """Procrastinate's own schema."""
    return ProcrastinateOnPostgres(postgres)


class Fleet:
    """A worker that computes for ten minutes in its event loop, and a service that reads."""

    def __init__(self, url):
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        settings = {
            "TASKER_WORKERS__URL": url,
            "TASKER_WORKERS__HEARTBEAT_SECONDS": str(BEAT_SECONDS),
            "TASKER_GUARD__PORT": "0",
            "DSN": plain,
        }
        asyncio.run(_defer(plain))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout.readline() == "ships\n"
        self.runner = asyncio.Runner()
        self.health = Health(
            settings_of(
                sources={"jobs": {"kind": "procrastinate", "url": url}},
                workers={"url": url, "heartbeat_seconds": BEAT_SECONDS},
                health={"cache_duration_seconds": 0},
            )
        )

    def look(self):
        """Return what stands still, and the status."""

        async def look():
            await asyncio.sleep(BEAT_SECONDS / 4)
            return await self.health.monitor.stuck(), await self.health.status()

        return self.runner.run(look())

    def end(self):
        """End both."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.runner.run(self.health.stop())
        self.runner.close()


async def _defer(dsn):
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name="ship", queue="orders")
    async def ship():
        """Not run here."""

    async with app.open_async():
        await ship.defer_async()


@pytest.fixture
def fleet(tables):
    """The worker at work, and known."""
    made = Fleet(tables.url)
    try:
        wait_until(lambda: made.look()[0].workers.alive == 1, "the worker is known")
        yield made
    finally:
        made.end()


def test_who_computes_in_its_loop_is_busy(fleet):
    """For many beats, though Procrastinate's own heartbeat stands still with the loop: nothing is stuck."""
    for _ in range(30):
        stuck, status = fleet.look()
        assert stuck.workers.dead == 0
        assert Cause.WORKER_DEAD not in {each.cause for each in stuck.stuck}
        assert status.system_health.blocked_tasks == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_who_is_killed_or_stopped_is_named_with_its_job(fleet, number):
    """At /health/stuck with what to do, and as blocked in the status; one that goes on is taken back."""
    fleet.process.send_signal(number)

    def named():
        stuck, _ = fleet.look()
        return next((each for each in stuck.stuck if each.cause is Cause.WORKER_DEAD), None)

    job = wait_until(named, "its job is named")
    assert (job.name, job.queue, job.state, job.source) == ("ship", "orders", "running", "jobs")
    wait_until(lambda: fleet.look()[1].system_health.blocked_tasks == 1, "it is blocked")
    assert fleet.look()[1].workers.dead == 1
    if number is signal.SIGSTOP:
        fleet.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not named() and fleet.look()[1].workers.dead == 0, "it is back")
