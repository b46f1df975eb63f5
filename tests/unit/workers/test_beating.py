"""A worker's heartbeat over a ledger that is driven by hand."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from fakes import FakeClock
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.workers import RunningTask
from tasker_health.workers.attachment import Identity, Work
from tasker_health.workers.beating import Beating, Said
from tasker_health.workers.stall import StallWatch


class FakeLedger:
    """Keeps every beat, while it is not away."""

    name = "fake"

    def __init__(self):
        self.beats, self.left, self.fault, self.closed = [], [], None, False

    async def beat(self, beat):
        """Take *beat*."""
        if self.fault is not None:
            raise self.fault
        self.beats.append(beat)

    async def leave(self, worker_id):
        """Note who leaves."""
        if self.fault is not None:
            raise self.fault
        self.left.append(worker_id)

    async def close(self):
        """Note that nobody asks any more."""
        self.closed = True


class FakeAttachment:
    """A worker that says what it is told to say."""

    engine = "fake"

    def __init__(self):
        self.work, self.who, self.ready, self.asked = Work(), Identity(queues=("mail",)), 0, 0

    def identity(self):
        """Return who it is."""
        return self.who

    def observe(self):
        """Return what it does."""
        return self.work

    def waiting(self):
        """Return what waits."""
        self.asked += 1
        return self.ready() if callable(self.ready) else self.ready


class Scene:
    """A worker that beats each second, wedged after ten."""

    def __init__(self, said=None, lag=float, ledger=True):
        self.clock = FakeClock()
        self.ledger = FakeLedger() if ledger else None
        self.attachment = FakeAttachment()
        self.beating = Beating(
            self.ledger,
            self.attachment,
            said or Said(),
            period_seconds=1,
            stall=StallWatch(10, self.clock.monotonic),
            lag=lag,
            clock=self.clock,
        )
        self.stalls = []
        self.beating.on_stall = self.stalls.append

    async def beats(self, times=1):
        """Beat so often, a second apart."""
        for _ in range(times):
            await self.beating.beat()
            self.clock.move(1)

    def run(self, times=1):
        """Return the last beat of so many."""
        asyncio.run(self.beats(times))
        return self.ledger.beats[-1] if self.ledger and self.ledger.beats else None


def test_a_beat_says_who_works_on_what():
    """Engine, host, process, queues, tasks with how long they run, what was done, and for how long it is up."""
    scene = Scene(lag=lambda: 0.25)
    running = RunningTask("7", "ship", "mail", 3.5)
    scene.attachment.work = Work(running=(running,), running_count=1, done=4, failed=1)
    beat = scene.run(3)
    assert (beat.engine, beat.queues, beat.running, beat.running_count) == ("fake", ("mail",), (running,), 1)
    assert (beat.done, beat.failed, beat.lag_seconds, beat.up_seconds, beat.period_seconds) == (4, 1, 0.25, 2.0, 1)
    assert beat.worker_id == f"fake@{beat.host}:{beat.pid}"


def test_what_the_user_says_goes_before_the_engine():
    """Name, queues and version; a name stands before host and process, which tell two of one name apart."""
    scene = Scene(Said("mailer", ("slow",), "2.1"))
    scene.attachment.who = Identity(worker_id="engine's", queues=("mail",), version="1", owner_id="17")
    beat = scene.run()
    assert beat.worker_id == f"mailer@{beat.host}:{beat.pid}"
    assert (beat.queues, beat.version, beat.owner_id) == (("slow",), "2.1", "17")


def test_names_of_others_are_cut_and_printable():
    """Whatever a task is called, a beat is bounded and holds no control characters."""
    scene = Scene()
    scene.attachment.work = Work(running=(RunningTask("x" * 10_000, "a\x1b[2Jb\n", None, 1),), running_count=1)
    task = scene.run().running[0]
    assert (len(task.id), task.name) == (200, "a?[2Jb?")


@pytest.mark.parametrize("fault", [LedgerFault(Reason.TIMEOUT, "no answer"), RuntimeError("of the user's")])
def test_a_store_that_is_away_is_told_once_and_the_work_goes_on(caplog, fault):
    """Beats are dropped and counted; when it is back, the next one says how long it was away."""
    scene = Scene()
    scene.run(2)
    scene.ledger.fault = fault
    with caplog.at_level(logging.WARNING):
        scene.run(20)
        assert (scene.beating.dropped, len(scene.ledger.beats)) == (20, 2)
        scene.ledger.fault = None
        assert scene.run().gap_seconds == 21
    assert [record.message[:24] for record in caplog.records] == [
        "heartbeats are not taken",
        "heartbeats are taken aga",
    ]
    assert scene.run().gap_seconds == 1


def test_who_is_wedged_says_so_and_takes_it_back(caplog):
    """After ten seconds beside waiting work, in its beat and to its guard; the next task ends it."""
    scene = Scene()
    scene.attachment.ready = 3
    with caplog.at_level(logging.WARNING):
        assert not scene.run(11).stalled
        assert scene.run().stalled
        assert scene.stalls[-1] == 10
        scene.attachment.work = Work(running=(RunningTask("1", "ship", None, 0),), running_count=1)
        assert not scene.run().stalled
    assert scene.stalls[-1] == 0
    assert len(caplog.records) == 2


def test_what_waits_is_asked_only_by_who_is_idle():
    """A busy worker costs the broker nothing."""
    scene = Scene()
    scene.attachment.work = Work(running=(RunningTask("1", "ship", None, 600),), running_count=1)
    scene.run(20)
    assert scene.attachment.asked == 0


def test_who_hangs_when_asked_is_not_asked_again_meanwhile():
    """It holds one thread, the beats go on, and nothing is held against the worker."""
    scene, gate = Scene(), threading.Event()
    scene.attachment.ready = lambda: gate.wait(60) and 3
    scene.beating._period_seconds = 0.02

    async def play():
        await scene.beats(15)
        assert scene.attachment.asked == 1
        assert len(scene.ledger.beats) == 15
        gate.set()
        while scene.attachment.asked == 1:
            await scene.beats()

    asyncio.run(play())
    assert not any(scene.stalls[:15])


@pytest.mark.parametrize("answer", [None, lambda: 1 / 0])
def test_a_broker_that_is_away_is_no_stall(answer):
    """What is not known, or fails, says nothing of the worker."""
    scene = Scene()
    scene.attachment.ready = answer
    scene.run(50)
    assert not any(scene.stalls)


def test_who_ends_takes_his_beat_away():
    """Once; and a store that is away then is told, and not waited for."""
    scene = Scene()
    beat = scene.run()
    asyncio.run(scene.beating.leave())
    assert (scene.ledger.left, scene.ledger.closed) == ([beat.worker_id], True)
    scene.ledger.fault = LedgerFault(Reason.TIMEOUT)
    asyncio.run(scene.beating.leave())
    assert scene.ledger.left == [beat.worker_id]


def test_without_a_ledger_the_stall_is_watched_all_the_same():
    """A guard says that its worker is wedged, though nobody reads beats."""
    scene = Scene(ledger=False)
    scene.attachment.ready = 3
    scene.run(12)
    assert scene.stalls[-1] == 10
    asyncio.run(scene.beating.leave())
