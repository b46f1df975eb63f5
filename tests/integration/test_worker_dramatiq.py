"""Workers of Dramatiq on a real Redis: each process that its command forks is one, and what its threads work on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker

from faulty_proxy import FaultyProxy
from server import free_port
from tasker_health.workers import WorkerState
from tasker_health.workers.engines.dramatiq import attachment_of
from working_process import BEAT_SECONDS, Watching

SCRIPT = """
import os, time
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from tasker_health import Health

broker = RedisBroker(url=os.environ["BROKER"])
dramatiq.set_broker(broker)

@dramatiq.actor(queue_name="orders", max_retries=0)
def ship(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))

@dramatiq.actor(queue_name="orders", max_retries=0)
def lose():
    raise ValueError("lost")

health = Health()
health.worker(broker, version="7")
"""


class Shop:
    """One or more processes that work, and who watches them.

    Args:
        folder: For their code.
        server: Where their messages are.
        processes: How many.
        url: Their way to the server.
    """

    def __init__(self, folder, server, processes=1, url=None):
        (folder / "shop.py").write_text(SCRIPT)
        settings = {
            "TASKER_WORKERS__URL": server.url,
            "TASKER_WORKERS__HEARTBEAT_SECONDS": str(BEAT_SECONDS),
            "TASKER_GUARD__PORT": str(free_port()),
            "BROKER": url or server.url,
        }
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dramatiq", "shop", "-p", str(processes), "-t", "2", "--skip-logging"],
            env={**os.environ, **settings, "PYTHONPATH": str(folder)},
            cwd=folder,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.broker = RedisBroker(url=server.url)
        self.watching = Watching(server.url)

    def send(self, name, *args):
        """Enqueue a message, and return its id."""
        message = dramatiq.Message(queue_name="orders", actor_name=name, args=args, kwargs={}, options={})
        return self.broker.enqueue(message).message_id

    def until(self, condition, what):
        """Return the worker when *condition* holds of it."""
        return self.watching.until(condition, what)

    def end(self):
        """End all of them."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.broker.client.close()
        self.watching.__exit__()
        self.log.close()


@pytest.fixture
def shop(tmp_path, redis_server):
    """Start workers, and end them."""
    shops = []

    def start(processes=1, url=None):
        shops.append(Shop(tmp_path, redis_server, processes, url))
        return shops[-1]

    yield start
    for each in shops:
        each.end()


def test_busy_is_busy_and_killed_is_dead(shop):
    """What its threads do is told and counted; a long message never makes it dead; SIGKILL does, with its messages."""
    worker = shop()
    worker.send("ship", 0)
    worker.send("lose")
    worker.until(lambda each: (each.beat.done, each.beat.failed) == (1, 1), "one of each")
    ids = {worker.send("ship", 600) for _ in range(2)}
    busy = worker.until(lambda each: each.beat.running_count == 2, "both threads work")
    at = set()
    while len(at) < 5:
        (each,) = worker.watching.look()
        assert each.state is WorkerState.ALIVE
        at.add(each.at)
    assert busy.beat.pid != worker.process.pid
    os.kill(busy.beat.pid, signal.SIGKILL)
    dead = worker.until(lambda each: each.state is WorkerState.DEAD, "it is dead")
    assert {(each.id, each.name, each.queue) for each in dead.beat.running} == {
        (each, "ship", "orders") for each in ids
    }
    assert (dead.beat.engine, dead.beat.queues, dead.beat.version) == ("dramatiq", ("orders",), "7")


def test_one_that_is_stopped_is_dead_until_it_goes_on(shop):
    """By SIGSTOP, as a machine that is suspended; the beat comes back with SIGCONT."""
    worker = shop()
    pid = worker.until(lambda each: each.state is WorkerState.ALIVE, "it beats").beat.pid
    os.kill(pid, signal.SIGSTOP)
    worker.until(lambda each: each.state is WorkerState.DEAD, "it is dead")
    os.kill(pid, signal.SIGCONT)
    worker.until(lambda each: each.state is WorkerState.ALIVE, "it is back")


@pytest.mark.engines
def test_each_process_is_a_worker_and_leaves_in_good_order(shop):
    """Two processes are two workers; the one that watches over them is none. SIGTERM takes both away."""
    worker = shop(processes=2)
    worker.until(lambda _: len(worker.watching.look()) == 2, "both beat")
    pids = {each.beat.pid for each in worker.watching.look()}
    assert len(pids) == 2
    assert worker.process.pid not in pids
    worker.process.terminate()
    assert worker.process.wait(60) == 0
    assert worker.watching.look() == ()


@pytest.mark.engines
def test_a_redis_that_is_cut_off_kills_nobody(shop, redis_server):
    """The worker lives on, and works when the broker is back."""
    with FaultyProxy(redis_server.port) as proxy:
        worker = shop(url=redis_server.url.replace(str(redis_server.port), str(proxy.port)))
        worker.send("ship", 0)
        worker.until(lambda each: each.beat.done == 1, "it has worked")
        began = worker.watching.look()[0].beat.up_seconds
        proxy.set("refuse")
        worker.send("ship", 0)
        while worker.watching.look()[0].beat.up_seconds < began + 7:
            assert not worker.watching.look()[0].beat.stalled
            assert worker.watching.look()[0].state is WorkerState.ALIVE
        proxy.set("pass")
        worker.until(lambda each: each.beat.done == 2, "it works again")


class Booted:
    """A worker of Dramatiq as its middleware sees it: with nothing in its hands."""

    consumer_whitelist = None

    class work_queue:  # noqa: N801 -- Dramatiq's word
        """What it holds unbegun."""

        @staticmethod
        def qsize():
            """Nothing."""
            return 0


class Lived:
    """A life that nobody looks at."""

    def begin(self, loop=None):
        """Nothing begins."""

    def end(self):
        """Nothing ends."""


def test_what_waits_is_what_could_be_taken(redis_server):
    """Messages in its queues, without those that are delayed; not known when Redis is away."""
    broker = RedisBroker(url=redis_server.url)
    joined = attachment_of(broker)
    joined.attach(Lived())
    assert joined.waiting() is None
    broker.emit_after("worker_boot", Booted())
    broker.declare_queue("orders")
    for delay in (None, None, 60_000):
        message = dramatiq.Message(queue_name="orders", actor_name="ship", args=(), kwargs={}, options={})
        broker.enqueue(message, delay=delay)
    assert joined.waiting() == 2
    redis_server.stop()
    assert joined.waiting() is None
    broker.client.close()
