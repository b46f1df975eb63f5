"""What is brought to a channel, when, and what is given up: by a simulated clock."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import random

import msgspec
import pytest

import canary
from alert_events import pending_of
from fakes import FakeClock
from simulated import SimulatedLoop
from tasker_health.alerts.dispatch import MOST_ASKED_SECONDS, MOST_SECONDS, Dispatch
from tasker_health.counters import DeliveryCounts
from tasker_health.errors import DeliveryError
from tasker_health.settings.alerts import AlertSettings


class Highest(random.Random):
    """Chance that takes the largest it may."""

    def uniform(self, a, b):
        """Return *b*."""
        return b


class Told:
    """A channel that notes what it is sent, and when, and behaves as a test wants.

    Attributes:
        behaviour: Called with each event; it may raise, or wait.
    """

    name = "told"

    def __init__(self, clock):
        self._clock = clock
        self.taken = []
        self.tried_at = []
        self.behaviour = lambda _: None

    async def send(self, event):
        """Take it, unless the behaviour says otherwise."""
        self.tried_at.append(self._clock.monotonic())
        answer = self.behaviour(event)
        if answer is not None:
            await answer
        self.taken.append(event.id)

    async def close(self):
        """Have nothing to close."""


class Scene:
    """A dispatch, what it sends to, and a ledger that does as the real one does."""

    def __init__(self, clock, **settings):
        self.clock = clock
        self.channel = Told(clock)
        self.counts = DeliveryCounts()
        self.settings = AlertSettings(**settings)
        self.dispatch = Dispatch(self.channel, self.counts, self.settings, clock, Highest())
        self.waiting = []
        self.rests = []

    def put(self, *pending):
        """Let *pending* wait, from now on."""
        now = self.clock.monotonic()
        self.waiting += [msgspec.structs.replace(each, first_at=now) for each in pending]
        return [each.event.id for each in pending]

    async def turn(self):
        """Deliver once and keep what was not settled; return the outcome."""
        outcome = await self.dispatch.deliver(self.waiting)
        settled = outcome.done | outcome.dropped.keys()
        self.waiting = [
            msgspec.structs.replace(each, attempts=each.attempts + (each.event.id in outcome.attempted))
            for each in self.waiting
            if each.event.id not in settled
        ]
        self.rests.append(outcome.rest_seconds)
        return outcome

    async def until_settled(self, turns=1000):
        """Deliver, resting as asked for, until nothing waits."""
        while self.waiting and turns:
            turns -= 1
            rest = (await self.turn()).rest_seconds
            await asyncio.sleep(max(rest, 0.001))
        return turns


def in_simulated_time(**settings):
    """Return a decorator that hands a test a `Scene` in a loop whose time is simulated."""

    def decorate(test):
        @functools.wraps(test)
        def run(caplog):
            with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
                runner.run(test(Scene(runner.get_loop().clock, **settings), caplog))

        del run.__wrapped__  # pytest would look for a fixture of each argument
        return run

    return decorate


def fails(again=True, after=None):
    """Return a behaviour that does not take anything."""

    def behaviour(event):
        raise DeliveryError("it fails", again=again, after_seconds=after)

    return behaviour


@in_simulated_time()
async def test_what_is_taken_is_done_in_order(scene, caplog):
    """Events are sent in the order in which they wait, and counted."""
    ids = scene.put(*(pending_of(action) for action in ("trigger", "update", "resolve")))
    outcome = await scene.turn()
    assert scene.channel.taken == ids
    assert outcome.done == outcome.attempted == set(ids)
    assert (outcome.dropped, outcome.rest_seconds) == ({}, 0)
    assert (scene.counts.results["sent"], scene.counts.pending, scene.counts.error) == (3, 0, None)


@in_simulated_time()
async def test_nothing_overtakes(scene, caplog):
    """What cannot be brought now holds up what is behind it: a resolve never comes before its trigger."""
    scene.channel.behaviour = fails()
    trigger, resolve = scene.put(pending_of(), pending_of("resolve"))
    outcome = await scene.turn()
    assert (outcome.attempted, outcome.done, scene.counts.pending) == ({trigger}, set(), 2)
    scene.channel.behaviour = lambda _: None
    await scene.until_settled()
    assert scene.channel.taken == [trigger, resolve]


@in_simulated_time()
async def test_rests_double_up_to_a_bound(scene, caplog):
    """With chance at its highest the rests are 2, 4, 8 ... seconds and at most five minutes."""
    scene.channel.behaviour = fails()
    scene.put(pending_of())
    for _ in range(12):
        await asyncio.sleep((await scene.turn()).rest_seconds + 0.001)
    assert scene.rests[:4] == pytest.approx([2, 4, 8, 16])
    assert scene.rests[-1] == pytest.approx(MOST_SECONDS)
    assert scene.counts.results["failed"] == 12


def test_rests_are_spread_over_the_whole_time():
    """Full jitter: from no rest at all to the whole of it, so that senders who failed together do not come together."""
    dispatch = Dispatch(Told(FakeClock()), DeliveryCounts(), AlertSettings(), FakeClock(), random.Random(7))
    rests = [dispatch._rest_after(4, None) for _ in range(2000)]
    assert 0 <= min(rests) < 1
    assert 31 < max(rests) <= 32
    assert sum(rests) / len(rests) == pytest.approx(16, rel=0.05)


@in_simulated_time()
async def test_asking_too_early_sends_nothing(scene, caplog):
    """While the other side is to be left alone nothing is sent, whoever asks, and what is left of the rest is said."""
    scene.channel.behaviour = fails(after=100.0)
    scene.put(pending_of())
    await scene.turn()
    await asyncio.sleep(40)
    outcome = await scene.turn()
    assert outcome.attempted == set()
    assert outcome.rest_seconds == pytest.approx(60, abs=0.1)
    assert len(scene.channel.tried_at) == 1


@pytest.mark.parametrize(
    ("asked", "expected"), [(0.0, 2.0), (30.0, 30.0), (1e12, MOST_ASKED_SECONDS), (math.inf, MOST_ASKED_SECONDS)]
)
def test_what_the_other_side_asks_for_is_honoured_within_a_bound(asked, expected):
    """`Retry-After` makes a rest longer, never shorter than our own, and never so long that pages are silenced."""
    dispatch = Dispatch(Told(FakeClock()), DeliveryCounts(), AlertSettings(), FakeClock(), Highest())
    assert dispatch._rest_after(0, asked) == expected


@in_simulated_time()
async def test_what_is_refused_for_good_is_dropped_and_the_others_go_on(scene, caplog):
    """An event that can never be taken holds up nobody: it is dropped, counted and logged."""
    bad, good = scene.put(pending_of(rule="bad"), pending_of(rule="good"))
    scene.channel.behaviour = lambda event: fails(again=False)(event) if event.rule == "bad" else None
    outcome = await scene.turn()
    assert (outcome.done, outcome.dropped, outcome.rest_seconds) == ({good}, {bad: "refused"}, 0)
    assert (scene.counts.dropped["refused"], scene.counts.results["refused"], scene.counts.pending) == (1, 1, 0)
    assert "refused and dropped: it fails" in caplog.text


@in_simulated_time(keep_seconds=3600)
async def test_what_waits_too_long_is_dropped(scene, caplog):
    """After `keep_seconds` of an endpoint that is away an event is dropped as expired, not before."""
    scene.channel.behaviour = fails()
    scene.put(pending_of())
    began = scene.clock.monotonic()
    await scene.until_settled()
    assert 3600 < scene.clock.monotonic() - began < 3600 + 2 * MOST_SECONDS
    assert scene.counts.dropped == {"expired": 1}
    assert scene.counts.pending == 0


@in_simulated_time(timeout_seconds=10)
async def test_one_delivery_ends_in_time(scene, caplog):
    """Of an endpoint that hangs only the first event is tried, and the delivery ends with the time-out."""
    scene.channel.behaviour = lambda _: asyncio.sleep(1e6)
    scene.put(*(pending_of(rule=f"rule{number}") for number in range(50)))
    began = scene.clock.monotonic()
    outcome = await scene.turn()
    assert scene.clock.monotonic() - began == pytest.approx(10, abs=0.1)
    assert len(outcome.attempted) == 1
    assert "timeout" in scene.counts.error


@in_simulated_time(timeout_seconds=10)
async def test_a_slow_endpoint_gets_everything(scene, caplog):
    """One that takes nine of ten seconds for each event gets them all, one a turn, and none is cut off."""
    scene.channel.behaviour = lambda _: asyncio.sleep(9)
    ids = scene.put(*(pending_of(rule=f"rule{number}") for number in range(5)))
    await scene.until_settled()
    assert scene.channel.taken == ids
    assert scene.counts.results == {"sent": 5}


@in_simulated_time(keep_seconds=86_400)
async def test_one_event_that_nobody_digests_holds_up_its_incident_alone(scene, caplog):
    """An event that the other side always fails at does not keep the pages of other incidents from it for a day."""
    scene.channel.behaviour = lambda event: fails()(event) if event.rule == "poison" else None
    scene.put(pending_of(rule="poison"), pending_of("resolve", rule="poison"))
    others = scene.put(*(pending_of(rule=f"rule{number}") for number in range(3)))
    for _ in range(12):
        await asyncio.sleep((await scene.turn()).rest_seconds + 0.001)
    assert scene.channel.taken == others
    assert [each.event.rule for each in scene.waiting] == ["poison", "poison"]
    assert scene.rests[-1] > 100


@in_simulated_time()
async def test_an_endpoint_that_comes_back_gets_everything_once_and_in_order(scene, caplog):
    """After an hour of faults of all kinds nothing is lost, no incident is out of order, and the log said both."""
    waiting = [pending_of(rule=f"rule{number % 7}") for number in range(30)]
    ids = scene.put(*waiting)
    incident = {each.event.id: each.event.rule for each in waiting}
    faults = [fails(), fails(after=30.0), lambda _: asyncio.sleep(1e6)]
    turn = iter(range(10**6))

    def away(event):
        return faults[next(turn) % 3](event) if scene.clock.monotonic() < 3600 else None

    scene.channel.behaviour = away
    await scene.until_settled()
    assert sorted(scene.channel.taken, key=incident.get) == sorted(ids, key=incident.get)
    assert scene.counts.results["sent"] == 30
    assert scene.counts.dropped == {}
    assert "delivered again" in caplog.text
    assert len(caplog.records) < 20, "a failure is not told each time"


@in_simulated_time(timeout_seconds=10)
async def test_a_flood_is_sent_in_bounded_turns(scene, caplog):
    """Ten thousand events at once: each turn ends in its time, all are taken, and nothing is remembered of them."""
    scene.channel.behaviour = lambda _: asyncio.sleep(0.01)
    ids = scene.put(*(pending_of(rule=f"rule{number % 500}") for number in range(10_000)))
    longest = 0.0
    while scene.waiting:
        began = scene.clock.monotonic()
        await scene.turn()
        longest = max(longest, scene.clock.monotonic() - began)
    assert scene.channel.taken == ids
    assert longest < 10
    assert scene.dispatch._held == {}


@in_simulated_time()
async def test_words_of_a_foreign_exception_are_not_told(scene, caplog):
    """What a library says may hold an address or a key: its kind is told, its words are not."""

    def behaviour(event):
        raise ValueError(f"https://hooks.example/{canary.secret('hook')}")

    scene.channel.behaviour = behaviour
    scene.put(pending_of())
    await scene.turn()
    assert scene.counts.error == "error (ValueError)"
    assert "hooks.example" not in caplog.text


@in_simulated_time()
async def test_an_end_in_the_middle_of_a_delivery_is_no_failure(scene, caplog):
    """Cancelled, a delivery ends at once, and its events still wait where they came from."""
    caplog.set_level(logging.INFO)
    scene.channel.behaviour = lambda _: asyncio.sleep(1e6)
    scene.put(pending_of())
    task = asyncio.create_task(scene.turn())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(scene.waiting) == 1
    assert scene.counts.results == {}
