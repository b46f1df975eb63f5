"""The reader of one source: what is answered at once, who waits, when it is renewed, and what a fleet costs."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulated import Fleet, SimulatedLoop, simulated
from tasker_health.cache.shared import LEASE_SECONDS
from tasker_health.model import Reason

pytestmark = pytest.mark.timeout(60)

WAYS_SECONDS = 0.01
"""How long all the questions of one renewal take together at most, while nobody is waited for."""

LOOK_SECONDS = 0.3
"""How much later than it happened something is noticed at most: the rarest look, and the ways to the cache."""


class Answer(NamedTuple):
    """What one asker got, and when; ages are those of the moment of the answer."""

    replica: str
    asked_at: float
    answered_at: float
    age_seconds: float | None
    true_age_seconds: float | None
    fault: Reason | None
    own: bool

    @property
    def waited_seconds(self) -> float:
        """How long it took."""
        return self.answered_at - self.asked_at


async def ask(fleet, replica) -> Answer:
    """Return the answer of *replica* now."""
    asked_at = fleet.clock.monotonic()
    reading = await replica.reader.reading()
    now = fleet.clock.monotonic()
    facts = reading.facts
    return Answer(
        replica.name,
        asked_at,
        now,
        None if facts is None else now - reading.read_at_monotonic,
        None if facts is None else fleet.age_of(facts),
        reading.fault,
        reading.own,
    )


async def ask_for(fleet, replica, seconds, *, every=0.05) -> list[Answer]:
    """Ask *replica* again and again."""
    answers, ends_at = [], fleet.clock.monotonic() + seconds
    while fleet.clock.monotonic() < ends_at:
        answers.append(await ask(fleet, replica))
        await asyncio.sleep(every)
    return answers


async def ask_all_for(fleet, replicas, seconds, *, every=0.05) -> list[Answer]:
    """Ask each of *replicas* again and again."""
    answers = await asyncio.gather(*(ask_for(fleet, replica, seconds, every=every) for replica in replicas))
    return [answer for each in answers for answer in each]


def after_the_first(answers):
    """Return those *answers* that were asked for when the first one was there."""
    return [each for each in answers if each.asked_at > min(answer.answered_at for answer in answers)]


@simulated
async def test_while_it_is_asked_nobody_waits_and_the_source_is_read_once_a_time_to_live(fleet):
    """A minute at 1 s: 60 readings or fewer, each asker but the first is answered at once, none too old."""
    answers = await ask_for(fleet, fleet.replica(), 60)
    assert 50 <= len(fleet.source.log) <= 61
    later = after_the_first(answers)
    assert len(later) > 1000
    assert {each.waited_seconds for each in later} == {0}
    assert max(each.age_seconds for each in later) <= 1 + fleet.source.seconds + WAYS_SECONDS
    assert {each.own for each in later} == {False}


@simulated
async def test_a_fleet_reads_as_often_as_one_process(fleet):
    """Ten replicas with clocks minutes apart, a minute at 1 s: 60 readings, nobody waits, ages are true."""
    replicas = fleet.replicas(*"abcdefghij")
    answers = await ask_all_for(fleet, replicas, 60)
    assert 45 <= len(fleet.source.log) <= 61
    assert fleet.source.most_running == 1
    later = [each for each in answers if each.asked_at > answers[0].asked_at + 1]
    assert {each.waited_seconds for each in later} == {0}
    for each in later:
        assert each.fault is None
        assert -0.002 <= each.age_seconds - each.true_age_seconds <= WAYS_SECONDS
        assert each.true_age_seconds <= 1 + fleet.source.seconds + LOOK_SECONDS


@simulated
async def test_when_nobody_asks_any_more_one_renewal_more_is_the_last(fleet):
    """An hour after the last question: one reading more at most, no timer, no task."""
    replica = fleet.replica()
    await ask_for(fleet, replica, 10)
    before, asked = len(fleet.source.begun), fleet.cache.asked
    await asyncio.sleep(3600)
    assert len(fleet.source.begun) <= before + 1
    assert fleet.cache.asked <= asked + 10
    assert fleet.loop.timers == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@simulated
async def test_the_first_askers_after_an_idle_hour_wait_for_the_facts(fleet):
    """All of them, those who come later in the reading too; none is told that it was cached."""
    replica = fleet.replica()
    await ask(fleet, replica)
    await asyncio.sleep(3600)
    asks = []
    for _ in range(5):
        asks.append(asyncio.ensure_future(ask(fleet, replica)))
        await asyncio.sleep(0.01)
    for answer in await asyncio.gather(*asks):
        assert answer.own
        assert 0 < answer.true_age_seconds <= fleet.source.seconds + WAYS_SECONDS


@simulated
async def test_who_comes_within_a_prompt_renewal_gets_the_old_facts(fleet):
    """At once, with their true age, above the time to live, and without a fault."""
    replica = fleet.replica()
    fleet.source.seconds = 0.4
    await ask(fleet, replica)
    read_at = fleet.source.begun[0][1]
    await asyncio.sleep(read_at + 1.2 - fleet.clock.monotonic())
    assert fleet.source.running == 1
    answer = await ask(fleet, replica)
    assert (answer.waited_seconds, answer.fault, answer.own) == (0, None, False)
    assert answer.age_seconds == pytest.approx(1.2, abs=WAYS_SECONDS)
    assert answer.true_age_seconds == pytest.approx(1.2, abs=WAYS_SECONDS)


@simulated
async def test_facts_that_would_make_the_status_unhealthy_are_not_told_while_younger_ones_are_being_read(fleet):
    """With 1 s as the most that is bearable, who comes 1.2 s after the reading waits for the next one."""
    fleet.set(status_max_stale_seconds=1)
    replica = fleet.replica()
    fleet.source.seconds = 0.4
    await ask(fleet, replica)
    read_at = fleet.source.begun[0][1]
    await asyncio.sleep(read_at + 1.2 - fleet.clock.monotonic())
    assert fleet.source.running == 1
    answer = await ask(fleet, replica)
    assert answer.waited_seconds > 0
    assert answer.age_seconds <= 1


@simulated
async def test_who_comes_before_the_timer_of_a_busy_loop_does_not_wait(fleet):
    """The facts are due, the timer has not run yet: the asker starts the renewal, and has the old facts at once."""
    replica = fleet.replica()
    await ask(fleet, replica)
    fleet.clock.move(fleet.source.begun[0][1] + 1.1 - fleet.clock.monotonic())
    answer = await ask(fleet, replica)
    assert (answer.waited_seconds, answer.own) == (0, False)
    assert answer.age_seconds == pytest.approx(1.1, abs=WAYS_SECONDS)
    await asyncio.sleep(0.2)
    assert len(fleet.source.begun) == 2


@simulated
async def test_what_another_process_has_read_is_never_said_to_be_own(fleet):
    """Who waits for another process's reading gets facts that were cached."""
    first, second = fleet.replicas("first", "second")
    answers = await asyncio.gather(ask(fleet, first), ask(fleet, second))
    assert sorted(answer.own for answer in answers) == [False, True]
    assert len(fleet.source.log) == 1


@pytest.mark.parametrize("skew_seconds", [300, -300])
@simulated
async def test_clocks_that_differ_cost_no_reading_and_hide_no_age(fleet, skew_seconds):
    """Two replicas, minutes apart, asked in turn: facts are shared, none is served as fresh when it is not."""
    fleet.set(cache_duration_seconds=15)
    replicas = [fleet.replica("right"), fleet.replica("wrong", skew_seconds)]
    answers = await ask_all_for(fleet, replicas, 300, every=0.7)
    assert len(fleet.source.log) <= 300 / 15 + 1
    for each in answers:
        assert abs(each.age_seconds - each.true_age_seconds) <= WAYS_SECONDS
        assert each.true_age_seconds <= 15 + fleet.source.seconds + LOOK_SECONDS


@simulated
async def test_a_failure_is_answered_with_the_last_facts_and_tried_again_by_the_fleet_once_a_second(fleet):
    """Three replicas asked for a minute while reading fails: the others wait for the teller's word, none reads more."""
    replicas = fleet.replicas("a", "b", "c")
    await asyncio.gather(*(ask(fleet, replica) for replica in replicas))
    fleet.source.fault = Reason.REFUSED
    began = fleet.clock.monotonic()
    answers = await ask_all_for(fleet, replicas, 60, every=0.2)
    late = [each for each in answers if each.asked_at > began + 3]
    assert {each.fault for each in late} == {Reason.REFUSED}
    assert all(each.true_age_seconds is not None for each in late)
    assert max(each.waited_seconds for each in late) <= 0.1 + WAYS_SECONDS
    fleet.source.fault = None
    await asyncio.sleep(1.1)
    await asyncio.gather(*(ask(fleet, replica) for replica in replicas))
    await asyncio.sleep(0.3)
    answers = await asyncio.gather(*(ask(fleet, replica) for replica in replicas))
    assert {each.fault for each in answers} == {None}


@simulated
async def test_a_replica_that_knows_nothing_takes_no_facts_from_those_who_do(fleet):
    """The cache was emptied and one that has just started tells a failure: others keep their facts, and try again."""
    old, new = fleet.replicas("old", "new")
    await ask(fleet, old)
    await asyncio.sleep(2)
    fleet.cache.empty()
    fleet.source.fault = Reason.REFUSED
    assert (await ask(fleet, new)).age_seconds is None
    answer = await ask(fleet, old)
    assert answer.fault is Reason.REFUSED
    assert answer.age_seconds > 1
    assert answer.age_seconds == pytest.approx(answer.true_age_seconds, abs=WAYS_SECONDS)
    fleet.source.fault = None
    await asyncio.sleep(1.1)
    for replica in (new, old):
        assert (await ask(fleet, replica)).fault is None


@simulated
async def test_older_facts_that_are_told_with_a_failure_replace_no_younger_ones(fleet):
    """One has read while the cache was away, so the other one tells its failure with what was told before."""
    old, new = fleet.replicas("old", "new")
    await asyncio.gather(ask(fleet, old), ask(fleet, new))
    await asyncio.sleep(4)
    fleet.cache.fault = Reason.UNREACHABLE
    assert (await ask(fleet, new)).own
    await asyncio.sleep(1.5)  # it is renewed once more, and nobody is told
    fleet.cache.fault = None
    await asyncio.sleep(1)
    fleet.source.fault = Reason.REFUSED
    assert (await ask(fleet, old)).age_seconds > 5
    answer = await ask(fleet, new)
    assert (answer.fault, answer.own) == (Reason.REFUSED, False)
    assert answer.age_seconds < 3


@simulated
async def test_while_a_source_hangs_askers_get_the_last_facts_soon(fleet):
    """The first one waits for the fault to be known, those after it a tenth of a second each."""
    replica = fleet.replica()
    await ask(fleet, replica)
    fleet.source.seconds, fleet.source.fault = 4, Reason.TIMEOUT
    await asyncio.sleep(10)
    assert (await ask(fleet, replica)).fault is Reason.TIMEOUT
    for answer in await ask_for(fleet, replica, 10):
        assert answer.fault is Reason.TIMEOUT
        assert answer.age_seconds > 10
        assert answer.waited_seconds <= 0.1 + WAYS_SECONDS


@simulated
async def test_the_failure_of_another_one_is_not_kept_as_if_it_were_facts(fleet):
    """Two that know nothing: the one that was told of a failure tries again after a second, not after 15."""
    fleet.set(cache_duration_seconds=15)
    teller, told = fleet.replicas("teller", "told")
    fleet.source.fault = Reason.REFUSED
    answers = await asyncio.gather(ask(fleet, teller), ask(fleet, told))
    assert [each.fault for each in answers] == [Reason.REFUSED] * 2
    assert fleet.loop.timers == []
    fleet.source.fault = None
    await asyncio.sleep(1.1)
    answer = await ask(fleet, told)
    assert (answer.fault, answer.own) == (None, True)


@simulated
async def test_a_dead_holder_makes_facts_one_second_late(fleet):
    """While one replica is asked, another one dies in the middle of its reading: nobody waits, the fleet goes on."""
    dead, alive = fleet.replicas("dead", "alive")
    asking = asyncio.ensure_future(ask_for(fleet, alive, 5))
    await asyncio.sleep(0.5)
    due_at = fleet.source.begun[0][1] + 1
    await asyncio.sleep(due_at - 0.02 - fleet.clock.monotonic())
    holder = asyncio.ensure_future(dead.renewal._read_for_all(await dead.shared.acquire("shop"), None))
    await asyncio.sleep(0.07)
    holder.cancel()
    answers = after_the_first(await asking)
    assert [replica for replica, _ in fleet.source.begun[:3]] == ["alive", "dead", "alive"]
    assert {each.waited_seconds for each in answers} == {0}
    assert max(each.true_age_seconds for each in answers) > 1 + LEASE_SECONDS
    assert max(each.true_age_seconds for each in answers) <= 1 + LEASE_SECONDS + LOOK_SECONDS + fleet.source.seconds


@simulated
async def test_facts_that_take_longer_to_read_than_they_last_are_read_by_one_at_a_time_for_all(fleet):
    """A source of 1.5 s at a time to live of 1 s, ten replicas: one reading after the other, not ten times as many."""
    fleet.source.seconds = 1.5
    replicas = fleet.replicas(*"abcdefghij")
    answers = await ask_all_for(fleet, replicas, 60)
    assert fleet.source.most_running == 1
    assert len(fleet.source.log) <= 60 / 1.5 + 1
    assert max(each.true_age_seconds for each in answers) <= 1.5 + 1.5 + 2 * LOOK_SECONDS
    assert {each.fault for each in answers} == {None}


@simulated
async def test_facts_older_than_they_may_become_are_read_by_one_at_a_time(fleet):
    """A source that answers facts 5 s old at a time to live of 1 s: askers share, and the age that is said is true."""
    fleet.source.already_seconds = 5
    replicas = fleet.replicas("a", "b", "c")
    answers = await ask_all_for(fleet, replicas, 10)
    assert fleet.source.most_running == 1
    assert len(fleet.source.log) <= 10 / fleet.source.seconds
    for each in answers:
        assert each.age_seconds == pytest.approx(each.true_age_seconds, abs=WAYS_SECONDS)
    assert {each.own for each in answers} == {False}


@simulated
async def test_a_duration_of_zero_never_touches_the_cache_and_keeps_no_timer(fleet):
    """Each asker gets a reading of its own moment."""
    replica = fleet.set(cache_duration_seconds=0).replica()
    for _ in range(3):
        answer = await ask(fleet, replica)
        assert (answer.own, answer.waited_seconds) == (True, pytest.approx(0.1, abs=1e-4))
    assert len(fleet.source.log) == 3
    assert fleet.cache.asked == 0
    assert fleet.loop.timers == []


@pytest.mark.parametrize("after_seconds", [0.05, 0.5, 1.05])
@simulated
async def test_close_leaves_no_timer_and_no_task(fleet, after_seconds):
    """In the first reading, between readings, and in a renewal; whoever waits is told that it is draining."""
    replica = fleet.replica()
    asking = asyncio.ensure_future(ask(fleet, replica))
    await asyncio.sleep(after_seconds)
    await replica.reader.close()
    answer = await asking
    assert answer.fault is (Reason.DRAINING if after_seconds < 0.1 else None)
    assert replica.connection.closed == 1
    assert fleet.loop.timers == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@simulated
async def test_close_while_it_is_asked_leaves_no_timer(fleet):
    """An asker that comes while the connection is being given up does not keep the reader going for ever."""
    replica = fleet.replica()
    asked = []

    async def slow_close():
        asked.append(await ask(fleet, replica))

    replica.connection.close = slow_close
    await replica.reader.close()
    assert len(asked) == 1
    await asyncio.sleep(5)
    assert fleet.loop.timers == []
    assert len(fleet.source.log) == 1


@simulated
async def test_a_fork_leaves_the_reading_to_the_parent(fleet):
    """What the child begins is its own: it reads again, and neither waits for nor cancels what it has inherited."""
    replica = fleet.replica()
    inherited = asyncio.ensure_future(ask(fleet, replica))
    await asyncio.sleep(0.05)
    fleet.cache.empty()
    replica.shared.forget()
    replica.reader.forget()
    answer = await ask(fleet, replica)
    assert answer.own
    assert len(fleet.source.begun) == 2
    assert (await inherited).fault is None


NAMES = "abcd"
TROUBLES = st.sampled_from([None, None, Reason.UNREACHABLE, Reason.READ_ONLY])
EACH = {
    "wait": st.floats(0.01, 2.5),
    "ask": st.sampled_from(NAMES),
    "source.seconds": st.floats(0.001, 0.6),
    "source.fault": st.sampled_from([None, Reason.TIMEOUT]),
    "cache.seconds": st.floats(0.0001, 0.05),
    "cache.fault": st.sampled_from([None, None, Reason.UNREACHABLE, Reason.READ_ONLY]),
    "cache.coarse_seconds": st.sampled_from([0.0, 1.0]),
    "empty": st.none(),
    "set_clock": st.tuples(st.sampled_from(NAMES), st.floats(-400, 400)),
    "kill": st.sampled_from(NAMES),
}
OFTEN = ["ask", "ask", "ask", "wait", "wait", *EACH]
STEPS = st.lists(st.sampled_from(OFTEN).flatmap(lambda what: st.tuples(st.just(what), EACH[what])), max_size=40)


class Play:
    """A fleet to which everything happens, and what must be true of each answer meanwhile."""

    def __init__(self, loop) -> None:
        self.fleet = Fleet(loop)
        self.replicas = dict(zip(NAMES, self.fleet.replicas(*NAMES), strict=True))
        self.asks: list[asyncio.Task[Answer]] = []
        self.troubled = False
        self.killed = 0

    async def step(self, what, value) -> None:
        """Let one thing happen: a method of ours, or an attribute of the source or the cache that changes."""
        whose, _, name = what.rpartition(".")
        if whose:
            setattr(getattr(self.fleet, whose), name, value)
            self.troubled = self.troubled or (what == "cache.fault" and value is not None)
        else:
            await getattr(self, name)(value)

    async def wait(self, seconds) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def ask(self, name) -> None:
        """Ask the replica *name*, and wait for nothing."""
        self.asks.append(asyncio.ensure_future(ask(self.fleet, self.replicas[name])))

    async def empty(self, _) -> None:
        """Let the cache start again with nothing, leases neither."""
        self.fleet.cache.empty()
        self.troubled = True

    async def set_clock(self, value) -> None:
        """Set the clock of one machine."""
        name, skew_seconds = value
        self.replicas[name].clock.skew_seconds = skew_seconds

    async def kill(self, name) -> None:
        """Let the process *name* die and another one take its place: nothing is told and no lease is let go."""
        self.killed += 1
        reader = self.replicas[name].reader
        if reader._refresh.in_flight:
            reader._refresh._task.cancel()
        if reader._timer is not None:
            reader._timer.cancel()
        self.replicas[name] = self.fleet.replica(name, self.replicas[name].clock.skew_seconds)

    async def run(self, steps) -> None:
        """Let *steps* happen one after the other, and judge."""
        for what, value in steps:
            await self.step(what, value)
        self.judge(await asyncio.gather(*self.asks))
        for replica in self.replicas.values():
            await replica.reader.close()
        await asyncio.sleep(5)
        assert self.fleet.loop.timers == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def judge(self, answers) -> None:
        """Hold what must be true of *answers* and of the readings behind them."""
        if not self.troubled:
            assert self.fleet.source.most_running <= 1
        own = {(read.replica, read.began) for read in self.fleet.source.log if read.fault is None}
        late = 0.6 + LOOK_SECONDS + WAYS_SECONDS + self.killed * (LEASE_SECONDS + LOOK_SECONDS + 0.6)
        for each in answers:
            if each.fault is None:
                assert each.true_age_seconds <= 1 + late + (0.6 if self.troubled else 0)
            if each.age_seconds is None:
                assert each.fault is not None
                continue
            # An age that is wrong is wrong on the safe side, but for the way of the telling.
            assert -0.026 <= each.age_seconds - each.true_age_seconds <= 1.0 + 0.4
            if each.own:
                read_at = each.answered_at - each.true_age_seconds
                assert any(name == each.replica and abs(began - read_at) < 0.002 for name, began in own)


@given(STEPS)
def test_whatever_happens_to_a_fleet_its_answers_are_true(steps):
    """Skewed clocks, faults, deaths, a cache in trouble, in any order: ages are true, one reads at a time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(Play(runner.get_loop()).run(steps))
