"""Who is dead, and who only looks so: readings of a ledger by hand, in time by hand."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fakes import FakeClock
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.workers import Beat, Seen, WorkerState
from tasker_health.workers.roster import LedgerRoster

PERIOD = 5.0
NOBODY: list[str] = []


class FakeLedger:
    """The newest beats, by a store's clock of its own."""

    name = "fake"

    def __init__(self, clock):
        self.clock, self.skew, self.beats, self.fault, self.reads = clock, 0.0, {}, None, 0

    def write(self, name, **more):
        """Have a worker beat."""
        beat = Beat(worker_id=name, engine="plain", host="h", pid=1, period_seconds=PERIOD, **more)
        self.beats[name] = (beat, self.clock.now() + self.skew)

    async def read(self):
        """Return them all."""
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        now = self.clock.now() + self.skew
        return [Seen(beat, at, max(0.0, now - at)) for beat, at in self.beats.values()]

    async def close(self):
        """Give up nothing."""


class Scene:
    """One process that reads, and workers that beat."""

    def __init__(self, *names):
        self.clock = FakeClock()
        self.ledger = FakeLedger(self.clock)
        self.roster = self.replica()
        self.living = list(names)
        self.told = []

    def replica(self):
        """Return what one process knows."""
        roster = LedgerRoster(self.ledger, heartbeat_seconds=PERIOD, clock=self.clock)
        roster.on_death = lambda worker: self.told.append(f"dead {worker.beat.worker_id}")
        roster.on_return = lambda worker: self.told.append(f"back {worker.beat.worker_id}")
        return roster

    def play(self, script):
        """Run *script* on a loop of its own."""

        async def run():
            try:
                await script()
            finally:
                await self.roster.close()

        asyncio.run(run())

    async def pass_(self, seconds, *, reads=True):
        """Let time pass: the living beat each period, and somebody asks each half of one."""
        for _ in range(round(seconds / PERIOD * 2)):
            self.clock.move(PERIOD / 2)
            if round(self.clock.running / PERIOD * 2) % 2 == 0:
                for name in self.living:
                    self.ledger.write(name)
            if reads:
                await self.dead()

    async def dead(self, roster=None):
        """Return who is dead; `None`: not known."""
        workers = await (roster or self.roster).read(1)
        return None if workers is None else sorted(each.beat.worker_id for each in workers.dead())


def test_who_stops_is_dead_within_three_beats():
    """And no sooner than after two; it is told once, and taken back once."""
    scene = Scene("a", "b")

    async def script():
        await scene.pass_(20)
        scene.living.remove("b")
        await scene.pass_(10)
        assert await scene.dead() == NOBODY
        await scene.pass_(5)
        assert await scene.dead() == ["b"]
        await scene.pass_(60)
        scene.living.append("b")
        await scene.pass_(10)
        assert await scene.dead() == NOBODY

    scene.play(script)
    assert scene.told == ["dead b", "back b"]


def test_the_only_worker_is_seen_to_die_too():
    """Where nobody else shows that the store takes beats: it was watched all the time."""
    scene = Scene("a")

    async def script():
        await scene.pass_(20)
        scene.living.clear()
        await scene.pass_(15)
        assert await scene.dead() == ["a"]

    scene.play(script)


def test_who_asks_for_the_first_time_knows_at_once_who_is_dead():
    """Somebody else's fresh beat shows that the store took them all the time."""
    scene = Scene("a", "b")

    async def script():
        await scene.pass_(20, reads=False)
        scene.living.remove("b")
        await scene.pass_(20, reads=False)
        assert await scene.dead() == ["b"]

    scene.play(script)


def test_a_store_that_was_away_kills_nobody():
    """Nobody could write or read: when it is back, those are alive who go on within a period, and only they."""
    scene = Scene("a", "b", "c")

    async def script():
        await scene.pass_(20)
        living, scene.living = scene.living, []
        scene.ledger.fault = LedgerFault(Reason.UNREACHABLE, "away")
        await scene.pass_(60)
        assert await scene.dead() is None
        scene.ledger.fault = None
        scene.clock.move(PERIOD / 2)
        assert await scene.dead() == NOBODY
        scene.ledger.write("a", gap_seconds=62.0)
        scene.clock.move(PERIOD / 2)
        assert await scene.dead() == NOBODY
        scene.living = living[:2]
        await scene.pass_(20)
        assert await scene.dead() == ["c"]

    scene.play(script)
    assert scene.told == ["dead c"]


def test_a_store_that_was_away_unseen_kills_nobody():
    """Who asks once in a while did not see it: the first beat after it tells how long its writer could not write."""
    scene = Scene("a", "b")

    async def script():
        await scene.pass_(20)
        scene.clock.move(600)
        scene.ledger.write("a", gap_seconds=600.0)
        assert await scene.dead() == NOBODY
        await scene.pass_(10)
        assert await scene.dead() == NOBODY

    scene.play(script)
    assert scene.told == NOBODY


def test_two_replicas_agree_when_one_was_partitioned():
    """The one cut off knows nothing, and says so; back again it calls nobody dead whom the other does not."""
    scene = Scene("a", "b")
    other = scene.replica()

    async def script():
        await scene.pass_(20)
        assert await scene.dead(other) == NOBODY
        scene.living.remove("b")
        for _ in range(12):
            await scene.pass_(PERIOD)
            scene.ledger.fault = LedgerFault(Reason.UNREACHABLE)
            assert await scene.dead(other) is None
            scene.ledger.fault = None
            scene.clock.move(0.01)
        assert await scene.dead() == ["b"]
        scene.living.append("b")
        await scene.pass_(2 * PERIOD)
        assert await scene.dead() == await scene.dead(other) == NOBODY
        await scene.pass_(60)
        assert await scene.dead(other) == NOBODY
        await other.close()

    scene.play(script)
    assert scene.told == ["dead b", "back b"]


@pytest.mark.parametrize("skew", [-3600, -60, 60, 3600])
def test_a_clock_of_the_store_that_is_set_makes_nobody_immortal(skew):
    """Set back, beats lie ahead of it: they age by our own clock. Set on, all look old for a period, and none is."""
    scene = Scene("a", "b")

    async def script():
        await scene.pass_(20)
        scene.living.remove("b")
        scene.ledger.skew = skew
        scene.ledger.write("a")
        await scene.pass_(20)
        assert await scene.dead() == ["b"]

    scene.play(script)
    assert scene.told == ["dead b"]


def test_one_reading_serves_all_who_ask():
    """Within half a period the ledger is read once, by however many it is asked."""
    scene = Scene("a")

    async def script():
        scene.ledger.write("a")
        await asyncio.gather(*(scene.roster.read(1) for _ in range(100)))
        assert scene.ledger.reads == 1

    scene.play(script)


def test_no_table_is_no_worker_and_no_fault(caplog):
    """Where nobody has ever begun there is nobody, which is known; nothing is logged."""
    scene = Scene()
    scene.ledger.fault = LedgerFault(Reason.MISSING)

    async def script():
        with caplog.at_level(logging.INFO):
            assert await scene.dead() == NOBODY

    scene.play(script)
    assert not caplog.records


def test_who_says_that_he_is_wedged_is_stalled():
    """Alive, and of no use."""
    scene = Scene()

    async def script():
        scene.ledger.write("a", stalled=True)
        (worker,) = (await scene.roster.read(1)).all
        assert worker.state is WorkerState.STALLED

    scene.play(script)


def test_who_serves_what():
    """By queue and version of those who live; nothing is known of an engine of which nobody was ever seen."""
    scene = Scene()

    async def script():
        scene.ledger.write("a", queues=("mail", "ship"), version="2")
        scene.ledger.write("b", queues=())
        workers = await scene.roster.read(1)
        assert workers.serves("plain", "mail", "2")
        assert workers.serves("plain", "anything", "1")
        assert workers.serves("celery", "mail") is None
        del scene.ledger.beats["b"]
        scene.clock.move(PERIOD)
        workers = await scene.roster.read(1)
        assert workers.serves("plain", "mail", "1") is False
        assert workers.serves("plain", "slow") is False

    scene.play(script)
