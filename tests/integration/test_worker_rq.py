"""A worker of RQ on a real Redis: what it works on, and when it is busy, halted, dead, or cut off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import redis
import rq

from faulty_proxy import FaultyProxy
from server import free_port, wait_until
from tasker_health.workers import WorkerState
from tasker_health.workers.engines.rq import attachment_of
from working_process import BEAT_SECONDS, Watching

SCRIPT = """
import os, time
import redis, rq
from tasker_health import Health

def ship(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))

def lose():
    raise ValueError("lost")

class ShopWorker(rq.Worker):
    pass

class InProcess(rq.SimpleWorker):
    pass

class Spawning(rq.SpawnWorker):
    pass

health = Health()
for kind in (ShopWorker, InProcess, Spawning):
    health.worker(kind, version="7")
"""


class Shop:
    """A worker and who watches it.

    Args:
        folder: For its code.
        server: Where its jobs are.
        kind: Which kind of worker it is.
        url: Its way to the server.
    """

    def __init__(self, folder, server, kind, url=None):
        (folder / "shop.py").write_text(SCRIPT)
        self.port = free_port()
        settings = {
            "TASKER_WORKERS__URL": server.url,
            "TASKER_WORKERS__HEARTBEAT_SECONDS": str(BEAT_SECONDS),
            "TASKER_HEALTH__WORKER_STALL_SECONDS": "5",
            "TASKER_GUARD__PORT": str(self.port),
        }
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rq.cli", "worker", "orders", "--worker-class", f"shop.{kind}"),
                *("--url", url or server.url, "--name", "shop-1"),
            ],
            env={**os.environ, **settings, "PYTHONPATH": str(folder)},
            cwd=folder,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.redis = redis.Redis.from_url(server.url)
        self.queue = rq.Queue("orders", connection=self.redis)
        self.watching = Watching(server.url)

    def until(self, condition, what):
        """Return the worker when *condition* holds of it."""
        return self.watching.until(condition, what)

    def works(self):
        """Have it begin a job of ten minutes, and return its id."""
        job = self.queue.enqueue("shop.ship", 600, job_timeout=3600)
        self.until(lambda each: each.beat.running_count == 1, "it works")
        return job.id

    def horse(self):
        """Return the process that runs its job."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return next(int(each) for each in found.stdout.split() if os.getpgid(int(each)) == int(each))

    def live(self):
        """Return code and body of its guard's liveness."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/tasker/health/live", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def end(self):
        """End it, and its horse, which has a group of its own."""
        with contextlib.suppress(StopIteration, ProcessLookupError):
            os.kill(self.horse(), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.redis.close()
        self.watching.__exit__()
        self.log.close()


@pytest.fixture
def shop(tmp_path, redis_server):
    """Start workers, and end them."""
    shops = []

    def start(kind="ShopWorker", url=None):
        shops.append(Shop(tmp_path, redis_server, kind, url))
        return shops[-1]

    yield start
    for each in shops:
        each.end()


@pytest.mark.parametrize("kind", ["ShopWorker", pytest.param("InProcess", marks=pytest.mark.engines)])
def test_busy_is_busy_and_killed_is_dead(shop, kind):
    """A long job never makes it dead; SIGKILL does, and its job is named with its function and its queue."""
    worker = shop(kind)
    job = worker.works()
    at = set()
    while len(at) < 5:
        (each,) = worker.watching.look()
        assert each.state is WorkerState.ALIVE
        at.add(each.at)
    assert worker.live()[0] == 200
    worker.process.kill()
    dead = worker.until(lambda each: each.state is WorkerState.DEAD, "it is dead")
    assert [(each.id, each.name, each.queue) for each in dead.beat.running] == [(job, "shop.ship", "orders")]
    assert (dead.beat.engine, dead.beat.owner_id, dead.beat.queues) == ("rq", "shop-1", ("orders",))


def test_a_worker_whose_horse_is_stopped_is_wedged(shop):
    """Its job is halted, and with work that waits its guard says 503; SIGCONT takes it back."""
    worker = shop()
    worker.works()
    os.kill(worker.horse(), signal.SIGSTOP)
    worker.until(lambda each: each.beat.running and each.beat.running[0].halted, "its job is halted")
    worker.queue.enqueue("shop.ship", 0)
    wait_until(lambda: worker.live()[0] == 503, "it is wedged")
    assert worker.live()[1]["reason"] == "worker_stalled"
    os.kill(worker.horse(), signal.SIGCONT)
    wait_until(lambda: worker.live()[0] == 200, "it is back")


def test_what_was_done_and_what_failed_is_told_apart(shop):
    """Also of a horse that was killed; a forked one counts in shared memory."""
    worker = shop()
    worker.queue.enqueue("shop.ship", 0)
    worker.queue.enqueue("shop.lose")
    worker.until(lambda each: (each.beat.done, each.beat.failed) == (1, 1), "one of each")
    worker.works()
    os.kill(worker.horse(), signal.SIGKILL)
    worker.until(lambda each: (each.beat.done, each.beat.failed) == (1, 2), "what was killed has failed")
    worker.queue.enqueue("shop.ship", 0)
    worker.until(lambda each: (each.beat.done, each.beat.failed) == (2, 2), "it goes on")


@pytest.mark.engines
def test_a_redis_that_is_cut_off_restarts_nobody(shop, redis_server):
    """For longer than a stall would take: 200 all the time, and alive; the work goes on when Redis is back."""
    with FaultyProxy(redis_server.port) as proxy:
        worker = shop(url=redis_server.url.replace(str(redis_server.port), str(proxy.port)))
        worker.queue.enqueue("shop.ship", 0)
        worker.until(lambda each: each.beat.done == 1, "it has worked")
        began = worker.watching.look()[0].beat.up_seconds
        proxy.set("refuse")
        worker.queue.enqueue("shop.ship", 0)
        while worker.watching.look()[0].beat.up_seconds < began + 7:
            assert worker.live()[0] == 200
            assert worker.watching.look()[0].state is WorkerState.ALIVE
        proxy.set("pass")
        worker.until(lambda each: each.beat.done == 2, "it works again")


@pytest.mark.engines
def test_suspended_workers_take_nothing_and_are_not_wedged(shop):
    """`rq suspend` is an order, not a fault: what waits could not be taken."""
    worker = shop()
    worker.until(lambda each: each.state is WorkerState.ALIVE, "it beats")
    worker.redis.set("rq:suspended", 1)
    worker.queue.enqueue("shop.ship", 0)
    while worker.watching.look()[0].beat.up_seconds < 7:
        assert worker.live()[0] == 200
    worker.redis.delete("rq:suspended")
    worker.until(lambda each: each.beat.done == 1, "it works again")


class Quiet(rq.SimpleWorker):
    """Leaves the signals of this process alone."""

    def _install_signal_handlers(self):
        pass


class Lived:
    """A life that nobody looks at."""

    def begin(self, loop=None):
        """Nothing begins."""

    def end(self):
        """Nothing ends."""


def test_what_waits_is_what_could_be_taken(redis_server):
    """The length of its own queues; 0 while workers are suspended; not known when Redis is away."""
    with redis_server.client() as client:
        worker = Quiet(["orders", "mail"], connection=client)
        joined = attachment_of(worker)
        joined.attach(Lived())
        assert joined.waiting() is None
        worker.work(burst=True, logging_level="ERROR")
        for queue in ("orders", "mail", "others"):
            rq.Queue(queue, connection=client).enqueue("shop.ship", 0)
        assert joined.waiting() == 2
        client.set("rq:suspended", 1)
        assert joined.waiting() == 0
        redis_server.stop()
        assert joined.waiting() is None


@pytest.mark.engines
def test_a_spawned_horse_is_told_too(shop):
    """It shares no memory with its worker: its jobs all count as done."""
    worker = shop("Spawning")
    worker.queue.enqueue("shop.ship", 0)
    worker.until(lambda each: each.beat.done == 1, "it has worked")
    job = worker.works()
    assert [each.id for each in worker.watching.look()[0].beat.running] == [job]


def test_a_worker_that_ends_in_good_order_leaves_nothing(shop):
    """By SIGTERM, as a deployment ends it."""
    worker = shop()
    worker.until(lambda each: each.state is WorkerState.ALIVE, "it beats")
    worker.process.terminate()
    wait_until(lambda: not worker.watching.look(), "its beat is gone")
    assert worker.process.wait(60) == 0
