"""`health.worker()` in processes of their own, over a real store: who is dead is named, and who is busy never."""

from __future__ import annotations

import signal

import pytest

from faulty_proxy import FaultyProxy
from server import wait_until
from tasker_health.workers import DEAD_AFTER_BEATS, WorkerState
from working_process import BEAT_SECONDS, Watching, Working

DEAD, ALIVE, STALLED = WorkerState.DEAD, WorkerState.ALIVE, WorkerState.STALLED


@pytest.fixture(params=["thread", "loop"])
def worker(request, postgres_database):
    """A worker with a task in hand, and who watches it."""
    with Working(postgres_database, request.param) as working, Watching(postgres_database) as watching:
        working.say("take invoice-17")
        watching.until(lambda each: each.beat.running_count == 1, "its task is told")
        yield working, watching


def test_who_is_killed_is_dead_with_what_it_worked_on(worker):
    """By SIGKILL: after two and a half beats it is named, with its task, queue and version."""
    working, watching = worker
    working.signal(signal.SIGKILL)
    dead = watching.until(lambda each: each.state is DEAD, "it is dead")
    assert dead.age_seconds >= DEAD_AFTER_BEATS * BEAT_SECONDS
    assert [(task.id, task.name, task.queue) for task in dead.beat.running] == [("invoice-17", "compute", "numbers")]
    assert (dead.beat.version, dead.beat.queues, dead.beat.pid) == ("7", ("numbers",), working.process.pid)


def test_who_is_stopped_is_dead_until_it_goes_on(worker):
    """By SIGSTOP, which nobody who only looks at processes sees; SIGCONT takes it back."""
    working, watching = worker
    working.signal(signal.SIGSTOP)
    watching.until(lambda each: each.state is DEAD, "it is dead")
    working.signal(signal.SIGCONT)
    watching.until(lambda each: each.state is ALIVE, "it is back")


def test_who_computes_is_busy_and_not_dead(worker):
    """In its only thread or in its event loop, for many beats: it goes on beating, and its guard answers 200."""
    working, watching = worker
    working.begin("compute 3")
    at = {watching.look()[0].at}
    while len(at) < 3 * DEAD_AFTER_BEATS:
        (each,) = watching.look()
        assert each.state is ALIVE
        at.add(each.at)
        assert working.live()[0] == 200
    assert working.process.stdout.readline().startswith("compute")


def test_who_ends_in_good_order_is_gone(worker):
    """No row is left, and nobody is dead."""
    working, watching = worker
    working.say("end")
    wait_until(lambda: not watching.look(), "its beat is taken away")
    assert working.process.wait(60) == 0


def test_a_store_that_is_away_is_no_matter(postgres, postgres_database):
    """It works on, its guard says 200, it is not dead when the store is back, and beats again by itself."""
    with (
        FaultyProxy(postgres.port) as proxy,
        Working(proxy.url_for(postgres_database)) as working,
        Watching(postgres_database) as watching,
    ):
        before = watching.until(lambda each: each.state is ALIVE, "it beats")
        proxy.set("blackhole")
        watching.until(lambda each: each.age_seconds > 2, "its beats do not come")
        assert working.say("take invoice-18")
        assert working.live()[0] == 200
        proxy.set("pass")
        after = watching.until(lambda each: each.beat.running_count == 1, "it beats again")
        assert after.at > before.at
        watching.until(lambda each: each.state is ALIVE, "it lives")


def test_who_takes_no_work_though_some_waits_is_wedged(postgres_database):
    """Its guard says 503 with the reason; a broker that is away is not held against it; the next task ends it."""
    with Working(postgres_database) as working, Watching(postgres_database) as watching:
        working.say("waiting ?")
        watching.until(lambda each: each.beat.up_seconds > 7, "a stall could have been told by now")
        assert working.live()[0] == 200
        working.say("waiting 3")
        watching.until(lambda each: each.state is STALLED, "it is wedged")
        wait_until(lambda: working.live()[0] == 503, "its guard says so")
        _, body = working.live()
        assert body["reason"] == "worker_stalled"
        assert body["stalled_seconds"] >= 5
        working.say("take invoice-19")
        watching.until(lambda each: each.state is ALIVE, "it takes work again")
        wait_until(lambda: working.live()[0] == 200, "its guard says so")
