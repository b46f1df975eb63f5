"""The renewal: who of a fleet reads, what the others believe, and what a dead, slow or failing reader costs them."""

from __future__ import annotations

import asyncio

import pytest

from fakes import facts_of
from simulated import AGREE_SECONDS, simulated
from tasker_health.cache.shared import LEASE_SECONDS
from tasker_health.errors import SourceFault
from tasker_health.model import Reason

pytestmark = pytest.mark.timeout(60)

LOOK_SECONDS = 0.3
"""How much later than it happened something is noticed at most: the rarest look, and the ways to the cache."""

WAYS_SECONDS = 0.01
"""How long all the questions of one renewal take together at most, while nobody is waited for."""


def began(fleet):
    """Return who began to read, in that order."""
    return [replica for replica, _ in fleet.source.begun]


async def cut(task):
    """End *task* as the death of its process does: nothing more is sent."""
    task.cancel()
    await asyncio.wait({task})


@simulated
async def test_one_of_many_reads_and_the_others_adopt_its_facts(fleet):
    """Twenty replicas that begin together read once; all know the facts and their age, and one calls them its own."""
    replicas = fleet.replicas(*(f"r{number}" for number in range(20)))
    entries = await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    (read,) = fleet.source.log
    assert {entry.facts.completed for entry in entries} == {round(read.began * 1000)}
    assert [entry.own for entry in entries].count(True) == 1
    for entry in entries:
        assert entry.fault is None
        assert abs(entry.read_at_monotonic - read.began) < 0.002
    assert fleet.cache.leases == []


@simulated
async def test_who_gets_the_lease_looks_again_before_it_reads(fleet):
    """What the last holder told between the look and the lease is adopted, and the lease is free again."""
    first, second = fleet.replicas("first", "second")
    fleet.cache.meanwhile = lambda: first.renewal(None)
    entry = await second.renewal(None)
    assert began(fleet) == ["first"]
    assert not entry.own
    assert fleet.cache.leases == []


@pytest.mark.parametrize("after_seconds", [0.05, 0.5, 3.4])
@simulated
async def test_a_holder_that_dies_costs_no_more_than_a_second(fleet, after_seconds):
    """Whenever it dies, early or after its lease was extended many times, another one reads within a second."""
    fleet.source.seconds = 4
    dead, heir = fleet.replicas("dead", "heir")
    holder = asyncio.ensure_future(dead.renewal(None))
    await asyncio.sleep(0.01)
    waiting = asyncio.ensure_future(heir.renewal(None))
    await asyncio.sleep(after_seconds - 0.01)
    assert began(fleet) == ["dead"]
    await cut(holder)
    died_at = fleet.clock.monotonic()
    fleet.source.seconds = 0.1
    entry = await waiting
    assert entry.own
    assert began(fleet) == ["dead", "heir"]
    assert fleet.source.begun[1][1] - died_at <= 1 + WAYS_SECONDS


@simulated
async def test_a_slow_holder_keeps_its_lease_until_it_has_told(fleet):
    """A reading of 4 s, four times the term of a lease, is made once."""
    fleet.source.seconds = 4
    entries = await asyncio.gather(*(replica.renewal(None) for replica in fleet.replicas("a", "b", "c")))
    assert len(began(fleet)) == 1
    assert {entry.facts.completed for entry in entries} == {round(fleet.source.log[0].began * 1000)}


@simulated
async def test_a_holder_that_fails_tells_and_the_others_do_not_try_for_a_second(fleet):
    """Who waited, and who comes within a second, learns the reason without a reading; then one of them tries."""
    fleet.source.fault = Reason.REFUSED
    teller, waiting, later = fleet.replicas("teller", "waiting", "later")
    answers = await asyncio.gather(teller.renewal(None), waiting.renewal(None), return_exceptions=True)
    assert isinstance(answers[0], SourceFault)
    assert (answers[1].facts, answers[1].fault, answers[1].own) == (None, Reason.REFUSED, False)
    failed_at = fleet.source.log[0].ended
    while fleet.clock.monotonic() < failed_at + 0.9:
        for replica in (waiting, later):
            assert (await replica.renewal(None)).fault is Reason.REFUSED
            assert replica.renewal.fault is Reason.REFUSED
        await asyncio.sleep(0.1)
    assert began(fleet) == ["teller"]
    await asyncio.sleep(0.2)
    fleet.source.fault = None
    entry = await later.renewal(None)
    assert (began(fleet), entry.own, later.renewal.fault) == (["teller", "later"], True, None)
    assert (await waiting.renewal(None)).fault is None
    assert waiting.renewal.fault is None


@simulated
async def test_who_has_told_a_failure_tries_again_at_once(fleet):
    """Its own word keeps it from nothing, and its lease is still its own."""
    fleet.source.fault = Reason.REFUSED
    teller = fleet.replica()
    for times in (1, 2, 3):
        asked_at = fleet.clock.monotonic()
        with pytest.raises(SourceFault):
            await teller.renewal(None)
        assert len(began(fleet)) == times
        assert fleet.clock.monotonic() - asked_at <= fleet.source.seconds + WAYS_SECONDS


@simulated
async def test_the_last_facts_are_told_with_the_failure(fleet):
    """A replica that starts while reading fails knows the last facts and their age."""
    old, new = fleet.replicas("old", "new")
    entry = await old.renewal(None)
    await asyncio.sleep(30)
    fleet.source.fault = Reason.TIMEOUT
    with pytest.raises(SourceFault):
        await old.renewal(entry)
    told = await new.renewal(None)
    assert (told.facts, told.fault) == (entry.facts, Reason.TIMEOUT)
    assert abs(told.read_at_monotonic - entry.read_at_monotonic) < WAYS_SECONDS


@simulated
async def test_the_last_facts_of_another_one_are_told_with_the_failure(fleet):
    """A replica without facts of its own that fails tells again what lay there, not nothing."""
    old, new, third = fleet.replicas("old", "new", "third")
    entry = await old.renewal(None)
    await asyncio.sleep(30)
    fleet.source.fault = Reason.TIMEOUT
    with pytest.raises(SourceFault):
        await new.renewal(None)
    told = await third.renewal(None)
    assert (told.facts, told.fault) == (entry.facts, Reason.TIMEOUT)
    assert abs(told.read_at_monotonic - entry.read_at_monotonic) < WAYS_SECONDS


async def overtaken(fleet, *, lets_go_after, fails=False):
    """Let `slow` lose its lease while it reads, and `fast` read; return both, and what is told in the end."""
    slow, fast = fleet.replicas("slow", "fast")
    fleet.source.seconds = 4
    reading = asyncio.ensure_future(slow.renewal(None))
    await asyncio.sleep(0.05)
    fleet.cache.empty()  # and with it the lease; it is asked for again only in a while
    fleet.source.seconds = lets_go_after
    entry = await fast.renewal(None)
    if fails:
        fleet.source.fault = Reason.TIMEOUT
    await asyncio.wait({reading})
    assert began(fleet) == ["slow", "fast"]
    return entry, await fast.shared.find("shop")


@pytest.mark.parametrize("lets_go_after", [0.05, 1.0])
@pytest.mark.parametrize("fails", [False, True])
@simulated
async def test_who_lost_its_lease_does_not_overwrite_younger_facts(fleet, lets_go_after, fails):
    """Whether the lease is still taken when it is asked for again, or free already, and also by a failure."""
    entry, told = await overtaken(fleet, lets_go_after=lets_go_after, fails=fails)
    assert (told.facts, told.fault) == (entry.facts, None)


@simulated
async def test_who_was_away_while_others_read_does_not_overwrite_younger_facts(fleet):
    """A process that stood still, as by SIGSTOP, with its lease in hand: it tells nothing older than what is told."""
    slow, fast = fleet.replicas("slow", "fast")
    reading = asyncio.ensure_future(slow.renewal(None))
    await asyncio.sleep(0.05)
    fleet.clock.move(5)  # no timer has run: when they do, it has not noticed that its lease is over
    younger = facts_of(completed=round(fleet.clock.monotonic() * 1000))
    await fast.shared.tell("shop", younger, 0.0, None, 100)
    assert not reading.done()
    await asyncio.wait({reading})
    told = await fast.shared.find("shop")
    assert told.facts == younger


@simulated
async def test_a_lease_that_nobody_honours_is_worth_its_term_after_the_first_time(fleet):
    """Held for ever with nothing told it costs one reading its patience, the next ones its term, until it is free."""
    replica = fleet.replica()
    await replica.renewal(None)
    lease = replica.shared._lease_key("shop")
    await fleet.cache.acquire(lease, "liar", 1e9)
    waits = []
    for _ in range(3):
        await asyncio.sleep(2)
        asked_at = fleet.clock.monotonic()
        assert (await replica.renewal(None)).own
        waits.append(fleet.source.log[-1].began - asked_at)
    patience = fleet.settings.status_timeout_seconds
    assert patience <= waits[0] <= patience + LOOK_SECONDS
    for wait in waits[1:]:
        assert LEASE_SECONDS <= wait <= LEASE_SECONDS + LOOK_SECONDS
    await fleet.cache.release(lease, "liar")
    await asyncio.sleep(2)
    asked_at = fleet.clock.monotonic()
    await replica.renewal(None)
    assert fleet.source.log[-1].began - asked_at <= WAYS_SECONDS
    await fleet.cache.acquire(lease, "liar", 1e9)
    await asyncio.sleep(2)
    asked_at = fleet.clock.monotonic()
    await replica.renewal(None)
    assert fleet.source.log[-1].began - asked_at >= patience  # honoured again, once


@pytest.mark.parametrize("fault", [Reason.UNREACHABLE, Reason.READ_ONLY, None])
@simulated
async def test_with_a_cache_in_trouble_each_reads_for_itself(fleet, fault):
    """Away, refusing or hung: everybody gets facts of its own, and waits for the cache no longer than its time-out."""
    fleet.cache.fault, fleet.cache.hangs = fault, fault is None
    replicas = fleet.replicas("a", "b", "c")
    asked_at = fleet.clock.monotonic()
    entries = await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    assert [entry.own for entry in entries] == [True, True, True]
    assert sorted(began(fleet)) == ["a", "b", "c"]
    assert max(began_at for _, began_at in fleet.source.begun) - asked_at <= 0.25 * 1.2 + WAYS_SECONDS
    await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    assert len(began(fleet)) == 6


@simulated
async def test_a_cache_that_comes_back_makes_them_a_fleet_again(fleet):
    """Within 2 s of its return one reading serves all."""
    replicas = fleet.replicas("a", "b", "c")
    fleet.cache.fault = Reason.UNREACHABLE
    await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    fleet.cache.fault = None
    await asyncio.sleep(2)
    before = len(began(fleet))
    await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    assert len(began(fleet)) == before + 1


@pytest.mark.parametrize("skew_seconds", [1.5, -1.5])
@simulated
async def test_replicas_whose_clocks_agree_say_the_tellers_time(fleet, skew_seconds):
    """All of them answer the same timestamp of the same facts."""
    teller, other = fleet.replica("teller"), fleet.replica("other", skew_seconds)
    entry = await teller.renewal(None)
    await asyncio.sleep(0.5)
    assert (await other.renewal(None)).read_at == pytest.approx(entry.read_at, abs=AGREE_SECONDS)


@pytest.mark.parametrize("skew_seconds", [300, -300, 3, -3])
@simulated
async def test_replicas_whose_clocks_differ_say_their_own_time(fleet, skew_seconds):
    """The facts are as old by the wrong clock as they are in truth, and no older or younger than that."""
    teller, other = fleet.replica("teller"), fleet.replica("other", skew_seconds)
    entry = await teller.renewal(None)
    await asyncio.sleep(0.5)
    adopted = await other.renewal(None)
    assert began(fleet) == ["teller"]
    assert adopted.read_at == pytest.approx(entry.read_at + skew_seconds, abs=WAYS_SECONDS)
    assert adopted.read_at_monotonic == pytest.approx(entry.read_at_monotonic, abs=WAYS_SECONDS)


@pytest.mark.parametrize("skew_seconds", [600, -600])
@simulated
async def test_entries_of_other_clocks_are_old_when_they_are_old(fleet, skew_seconds):
    """What was told by a clock that is ahead or behind expires after its time to live, and not before."""
    teller, other = fleet.replica("teller"), fleet.replica("other", skew_seconds)
    await teller.renewal(None)
    await asyncio.sleep(fleet.source.log[0].began + 0.95 - fleet.clock.monotonic())
    assert not (await other.renewal(None)).own
    await asyncio.sleep(0.1)
    assert (await other.renewal(None)).own


@simulated
async def test_without_a_cache_duration_the_cache_is_never_asked(fleet):
    """Each question is a reading of its own."""
    replica = fleet.set(cache_duration_seconds=0).replica()
    for _ in range(3):
        assert (await replica.renewal(None)).own
    assert len(began(fleet)) == 3
    assert fleet.cache.asked == 0


@simulated
async def test_facts_that_were_old_already_are_that_much_older_for_all(fleet):
    """Facts 10 s old when they are read are 10 s old for who reads them and for who adopts them."""
    fleet.set(cache_duration_seconds=15)
    fleet.source.already_seconds = 10
    teller, other = fleet.replicas("teller", "other")
    for entry in (await teller.renewal(None), await other.renewal(None)):
        assert fleet.clock.monotonic() - entry.read_at_monotonic == pytest.approx(10.1, abs=WAYS_SECONDS)
        assert fleet.age_of(entry.facts) == pytest.approx(10.1, abs=WAYS_SECONDS)
    assert began(fleet) == ["teller"]
    await asyncio.sleep(5)
    assert (await other.renewal(None)).own


@simulated
async def test_ages_of_a_coarse_cache_are_bounded_by_what_was_seen(fleet):
    """With ages in whole seconds, rounded up, and a time to live of one: who waited adopts, with the true age."""
    fleet.cache.coarse_seconds = 1.0
    replicas = fleet.replicas("a", "b", "c")
    entries = await asyncio.gather(*(replica.renewal(None) for replica in replicas))
    assert len(began(fleet)) == 1
    for entry in entries:
        assert 0 <= fleet.source.log[0].began + AGREE_SECONDS - entry.read_at_monotonic <= LOOK_SECONDS


@simulated
async def test_ages_are_never_bounded_below_the_truth(fleet):
    """Whatever was under way when: no adopted facts seem younger than they are by more than the way of the telling."""
    fleet.cache.coarse_seconds = 1.0
    fleet.cache.seconds = 0.2
    fleet.source.seconds = 0.01
    first, second = fleet.replicas("first", "second")
    reading = asyncio.ensure_future(first.renewal(None))
    entries = []
    for _ in range(40):
        entries.append(asyncio.ensure_future(second.renewal(None)))
        await asyncio.sleep(0.02)
    await asyncio.wait({reading, *entries})
    assert first.renewal.fault is None
    for entry in (task.result() for task in entries):
        if entry.facts.completed == round(fleet.source.log[0].began * 1000):
            assert entry.read_at_monotonic <= fleet.source.log[0].began + fleet.cache.seconds / 2 + AGREE_SECONDS


@simulated
async def test_the_age_of_what_is_adopted_grows_while_the_lease_is_let_go(fleet):
    """A cache that takes 0.1 s for an answer: facts found under a lease are no younger for the way of its release."""
    first, second = fleet.replicas("first", "second")
    fleet.cache.seconds = 0.1
    told_at = []

    async def tell():
        told_at.append(fleet.clock.monotonic())
        await first.shared.tell("shop", facts_of(), 0.0, None, 100)

    fleet.cache.meanwhile = tell
    entry = await second.renewal(None)
    assert not entry.own
    assert entry.read_at_monotonic <= told_at[0] + fleet.cache.seconds / 2 + AGREE_SECONDS


@simulated
async def test_a_look_that_was_not_answered_bounds_no_age(fleet):
    """What is there after it may have lain there for long: it is not taken for young, and the facts are read."""
    teller, other = fleet.replicas("teller", "other")
    await teller.renewal(None)
    await asyncio.sleep(10)
    fleet.cache.fault = Reason.ERROR
    fleet.loop.call_later(fleet.cache.seconds * 0.6, setattr, fleet.cache, "fault", None)
    entry = await other.renewal(None)
    assert began(fleet) == ["teller", "other"]
    assert entry.own


@pytest.mark.parametrize("look", [1, 2])
@simulated
async def test_what_is_told_while_a_look_is_on_its_way_back_is_older_than_the_answer(fleet, look):
    """A slow and coarse cache: the look found nothing new, but its answer took a while, in which it was told."""
    fleet.cache.coarse_seconds = 1.0
    teller, other = fleet.replicas("teller", "other")
    await fleet.cache.acquire(other.shared._lease_key("shop"), "somebody", 60)
    await teller.shared.tell("shop", facts_of(completed=0), 100.0, None, 1000)
    await asyncio.sleep(0.5)
    told_at = []

    async def tell(looks):
        fleet.cache.looks_left = looks - 1
        await fleet.cache.looked.wait()
        told_at.append(fleet.clock.monotonic())
        await teller.shared.tell("shop", facts_of(completed=1), 0.0, None, 1000)

    fleet.cache.looked = asyncio.Event()
    telling = asyncio.ensure_future(tell(look))
    await asyncio.sleep(0)
    fleet.cache.answer_seconds = 0.2
    entry = await other.renewal(None)
    await telling
    assert (entry.facts.completed, entry.own) == (1, False)
    assert entry.read_at_monotonic <= told_at[0] + fleet.cache.seconds
