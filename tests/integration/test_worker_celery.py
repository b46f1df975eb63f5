"""A worker of Celery on a real broker: what `inspect ping` gets wrong, told rightly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import celery
import pytest

from faulty_proxy import FaultyProxy
from server import free_port, wait_until
from tasker_health.workers import WorkerState
from working_process import BEAT_SECONDS, Watching

SCRIPT = """
import os, time
import celery
from tasker_health import Health

app = celery.Celery("shop", broker=os.environ["BROKER"])
app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, broker_connection_retry_on_startup=True)
app.conf.broker_transport_options = {"socket_timeout": 2}

@app.task(name="ship")
def ship(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))

health = Health()
health.worker(app, version="7")
"""


class Shop:
    """A worker and who watches it."""

    def __init__(self, folder, url, broker, pool, direct=None):
        (folder / "shop.py").write_text(SCRIPT)
        self.port = free_port()
        settings = {
            "TASKER_WORKERS__URL": url,
            "TASKER_WORKERS__HEARTBEAT_SECONDS": str(BEAT_SECONDS),
            "TASKER_HEALTH__WORKER_STALL_SECONDS": "5",
            "TASKER_GUARD__PORT": str(self.port),
            "BROKER": broker,
        }
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "shop", "worker", "--pool", pool, "--concurrency", "1"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat", "-n", "shop@here"),
            ],
            env={**os.environ, **settings, "PYTHONPATH": str(folder)},
            cwd=folder,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.app = celery.Celery("shop", broker=direct or broker)
        self.watching = Watching(url)

    def send(self, seconds):
        """Enqueue a task."""
        return self.app.send_task("ship", args=[seconds]).id

    def until(self, condition, what):
        """Return the worker when *condition* holds of it."""
        return self.watching.until(condition, what)

    def works(self):
        """Have it begin a task of ten minutes, and return its id."""
        task = self.send(600)
        self.until(lambda each: each.beat.running_count == 1, "it works")
        return task

    def live(self):
        """Return code and body of its guard's liveness."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/tasker/health/live", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def children(self):
        """Return the processes of its pool."""
        guards_and_children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(each) for each in guards_and_children if b"celery" in Path(f"/proc/{each}/cmdline").read_bytes()]

    def end(self):
        """End it, and its pool."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.app.close()
        self.watching.__exit__()
        self.log.close()


@pytest.fixture
def shop(tmp_path, postgres_database, redis_server):
    """Start workers, and end them."""
    shops = []

    def start(pool, broker=redis_server.url):
        shops.append(Shop(tmp_path, postgres_database, broker, pool, redis_server.url))
        return shops[-1]

    yield start
    for each in shops:
        each.end()


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_busy_is_busy_and_killed_is_dead(shop, pool):
    """A long task never makes it dead, in the solo pool neither, where ping says nothing; SIGKILL does."""
    worker = shop(pool)
    task = worker.works()
    at = set()
    while len(at) < 8:
        (each,) = worker.watching.look()
        assert each.state is WorkerState.ALIVE
        at.add(each.at)
    assert worker.live()[0] == 200
    os.killpg(worker.process.pid, signal.SIGKILL)
    dead = worker.until(lambda each: each.state is WorkerState.DEAD, "it is dead")
    assert [(each.id, each.name, each.queue) for each in dead.beat.running] == [(task, "ship", "celery")]
    assert (dead.beat.engine, dead.beat.owner_id, dead.beat.queues) == ("celery", "shop@here", ("celery",))


def test_a_worker_whose_only_child_is_stopped_is_wedged(shop):
    """Ping says OK for it: its task is halted, and with work that waits its guard says 503; SIGCONT takes it back."""
    worker = shop("prefork")
    worker.works()
    (child,) = worker.children()
    os.kill(child, signal.SIGSTOP)
    worker.until(lambda each: each.beat.running[0].halted, "its task is halted")
    worker.send(0)
    wait_until(lambda: worker.live()[0] == 503, "it is wedged")
    assert worker.live()[1]["reason"] == "worker_stalled"
    os.kill(child, signal.SIGCONT)
    wait_until(lambda: worker.live()[0] == 200, "it is back")


def test_a_broker_that_is_cut_off_restarts_nobody(shop, redis_server):
    """For longer than a stall would take: 200 all the time, and alive; the work goes on when the broker is back."""
    with FaultyProxy(redis_server.port) as proxy:
        worker = shop("prefork", redis_server.url.replace(str(redis_server.port), str(proxy.port)))
        worker.send(0)
        worker.until(lambda each: each.beat.done == 1, "it has worked")
        began = worker.watching.look()[0].beat.up_seconds
        proxy.set("refuse")
        worker.send(0)
        while worker.watching.look()[0].beat.up_seconds < began + 7:
            assert worker.live()[0] == 200
            assert worker.watching.look()[0].state is WorkerState.ALIVE
        proxy.set("pass")
        worker.until(lambda each: each.beat.done == 2, "it works again")


def test_a_worker_that_ends_in_good_order_leaves_nothing(shop):
    """By SIGTERM, as a deployment ends it."""
    worker = shop("solo")
    worker.until(lambda each: each.state is WorkerState.ALIVE, "it beats")
    worker.process.terminate()
    wait_until(lambda: not worker.watching.look(), "its beat is gone")
    assert worker.process.wait(60) == 0
