"""Processes that remember the last hour together, in simulated time."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

import canary
from remembering import ERROR, OK, Rememberer, status_of
from simulated import simulated
from tasker_health.history.fleet import Told, believer
from tasker_health.history.slots import Slot, Slots
from tasker_health.model import CheckStatus, Reason, SystemStatus

HOUR = 3600
SKEWS = (0.0, 300.0, -300.0, 60.0, -1.5)


@contextlib.asynccontextmanager
async def started(fleet, *skews, **options):
    """Yield processes whose clocks are wrong by *skews*."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Rememberer(fleet, skew, **options)) for skew in skews]


def key_of(fleet):
    """Return where the document lies in the cache."""
    (key,) = [key for key in fleet.cache._kept if "history" in key and not key.endswith(":lease")]
    return key


@simulated
async def test_all_tell_the_same_whatever_their_clocks_say(fleet):
    """Five processes with clocks minutes apart: one hour without a gap, its rate right, a fault in the slot it was."""
    async with started(fleet, *SKEWS) as all_of_them:
        await asyncio.sleep(HOUR)
        all_of_them[1].monitor.checks = {"database": ERROR}
        at = fleet.clock.running
        await asyncio.sleep(30)
        all_of_them[1].monitor.checks = {"database": OK}
        await asyncio.sleep(600)
        passed = (fleet.clock.running - at) / 30
        for one in all_of_them:
            history = one.history
            assert history.is_shared
            assert history.replicas == 5
            assert None not in history.status[:-1]
            assert all(55 <= rate <= 65 for rate in history.completed_per_minute[2:-1])
            failed = [place for place, each in enumerate(history.checks["database"].status) if each != CheckStatus.OK]
            worst = [place for place in failed if history.checks["database"].status[place] is CheckStatus.ERROR]
            assert 1 <= len(worst) <= 2
            assert all(abs(119 - passed - place) <= 2 for place in worst)
            assert abs(history.timestamp.timestamp() - one.clock.now()) <= 31


@simulated
async def test_who_starts_anew_tells_the_last_hour_at_once(fleet):
    """Without a reading of its own, and with a clock that is minutes off; so does the whole fleet after a restart."""
    async with started(fleet, 0.0, 300.0):
        await asyncio.sleep(HOUR)
    fleet.clock.move(60)
    async with started(fleet, -200.0) as (one,):
        await asyncio.sleep(1)
        assert not one.monitor.asked
        history = one.history
        assert history.is_shared
        assert history.replicas == 2
        assert history.status.count(None) <= 5
        assert history.tasks["completed"][-5] is not None


@simulated
async def test_a_cache_that_hangs_or_is_emptied_costs_only_the_sharing(fleet):
    """What was seen is told on, as that of one process; when the cache is back, nothing is lost, and all is shared."""
    async with started(fleet, 0.0, 60.0) as (one, other):
        await asyncio.sleep(HOUR)
        fleet.cache.hangs = True
        await asyncio.sleep(300)
        assert not one.history.is_shared
        assert None not in one.history.status[:-1]
        assert len(one.monitor.asked) >= 128
        one.monitor.status_now = SystemStatus.DEGRADED
        await asyncio.sleep(60)
        one.monitor.status_now = SystemStatus.HEALTHY
        fleet.cache.hangs = False
        fleet.cache.empty()
        await asyncio.sleep(120)
        for each in (one, other):
            assert each.history.is_shared
            assert each.history.replicas == 2
            assert None not in each.history.status[1:-1]
            assert SystemStatus.DEGRADED in each.history.status[-9:]
        fleet.cache.fault = Reason.REFUSED
        await asyncio.sleep(60)
        assert not other.history.is_shared


HEAD = b'tasker-health/2 -\n{"owner":"tasker_health/%b/history/30","document":'
BODY = b'{"written_at":1,"replicas":{},"names":[],"slots":[%b]}}'
POISON = [
    b"",
    b"tasker-health/2 -\n{",
    b"tasker-health/99 -\n{}",
    b"x" * (600 * 1024),
    HEAD % b"other" + BODY % b"",
    HEAD % b"shop" + BODY % b"[5,1,null,[],null,[],[]]",
]


@pytest.mark.parametrize("poison", POISON, ids=["empty", "cut", "version", "huge", "foreign", "impossible"])
@simulated
async def test_what_is_not_ours_is_not_believed(fleet, poison):
    """It is written over in the next turn, and nobody has lost anything."""
    async with started(fleet, 0.0, 60.0) as (one, other):
        await asyncio.sleep(600)
        await fleet.cache.put(key_of(fleet), poison, HOUR)
        await asyncio.sleep(90)
        for each in (one, other):
            assert each.history.is_shared
            assert SystemStatus.UNHEALTHY not in each.history.status
            assert None not in each.history.status[-18:-1]


@simulated
async def test_an_old_document_that_somebody_puts_back_is_not_believed(fleet):
    """Signed or not: its time of writing tells that it is not of now."""
    key = canary.secret("signing")
    async with started(fleet, 0.0, key=key) as (one,):
        one.monitor.status_now = SystemStatus.UNHEALTHY
        await asyncio.sleep(600)
        kept = await fleet.cache.get(key_of(fleet))
        assert kept is not None
        one.monitor.status_now = SystemStatus.HEALTHY
        await asyncio.sleep(2 * HOUR)
        await fleet.cache.put(key_of(fleet), kept.value, HOUR)
        await asyncio.sleep(60)
        assert SystemStatus.UNHEALTHY not in one.history.status
        assert None not in one.history.status[:-1]
    async with started(fleet, 0.0, key=canary.secret("other")) as (stranger,):
        await asyncio.sleep(1)
        assert set(stranger.history.status) == {None}


@simulated
async def test_a_lease_that_somebody_keeps_hinders_nobody_from_reading(fleet):
    """What others have written is still read; ours is told when it is over."""
    async with started(fleet, 0.0, 60.0) as (one, other):
        await asyncio.sleep(600)
        await fleet.cache.acquire(f"{key_of(fleet)}%2Fturn:lease", "somebody", 120)
        await asyncio.sleep(60)
        assert one.history.is_shared
        await asyncio.sleep(180)
        assert None not in one.history.status[-20:-1]
        assert one.history.replicas == other.history.replicas == 2


@simulated
async def test_slots_of_another_length_are_another_history(fleet):
    """A fleet of which half has been given new settings is two, for a while."""
    async with started(fleet, 0.0) as (one,), started(fleet, 0.0, slot_seconds=60) as (other,):
        await asyncio.sleep(600)
        assert one.history.replicas == other.history.replicas == 1
        assert len(other.history.status) == 60


@simulated
async def test_two_fleets_that_become_one_number_their_slots_alike(fleet):
    """Each began without a cache, with clocks minutes apart: after a few turns all agree about when it was bad."""
    fleet.cache.fault = Reason.REFUSED
    async with started(fleet, 0.0, 400.0) as (one, other):
        one.monitor.status_now = SystemStatus.DEGRADED
        await asyncio.sleep(300)
        one.monitor.status_now = SystemStatus.HEALTHY
        await asyncio.sleep(300)
        fleet.cache.fault = None
        await asyncio.sleep(120)
        places = [
            [place for place, each in enumerate(each.history.status) if each is SystemStatus.DEGRADED]
            for each in (one, other)
        ]
        assert places[0] == places[1]
        assert 9 <= len(places[0]) <= 11
        assert abs(places[0][-1] - (119 - 420 / 30)) <= 2


@simulated
async def test_a_machine_that_slept_is_believed_again(fleet):
    """Its monotonic clock has not noticed; within two slots it shares with the others as before."""
    async with started(fleet, 0.0) as (one,):
        await asyncio.sleep(600)
        one.clock.skew_seconds += 2 * HOUR
        one.monitor.on_status(status_of(one.clock.now()))
        await asyncio.sleep(90)
        async with started(fleet, 2.0 * HOUR) as (other,):
            await asyncio.sleep(1)
            assert other.history.status == one.history.status
            assert other.history.status.count(None) <= 101


def test_only_what_can_be_is_believed():
    """Slots of an hour, each once, with no more checks than there are names, read before it was written."""
    slots = Slots(30, 10)
    good = Told(3000.0, {"a": 99}, ["x"], [Slot(98, 0), Slot(99, 0, 2990.0, [1] * 9, 0.5, [1], [None])])
    believe = believer(slots)
    assert believe(good)
    bad = [
        {"slots": [Slot(101)]},
        {"slots": [Slot(-21)]},
        {"slots": [Slot(99), Slot(98)]},
        {"slots": [Slot(99), Slot(99)]},
        {"slots": [Slot(99, check_status=[0, 0], check_ms=[None, None])]},
        {"slots": [Slot(99, check_status=[0], check_ms=[])]},
        {"slots": [Slot(99, read_at=3002.0, figures=[1] * 9)]},
        {"slots": [Slot(99, read_at=-9000.0, figures=[1] * 9)]},
        {"slots": [Slot(99, read_at=2990.0, figures=[1])]},
        {"slots": [Slot(99, figures=[1] * 9)]},
        {"names": ["x", "x"]},
        {"replicas": {"a": 101}},
    ]
    for change in bad:
        assert not believe(msgspec.structs.replace(good, **change)), change


@pytest.mark.parametrize("coarse_seconds", [0.0, 1.0])
@pytest.mark.parametrize("skew", [number * 7.3 - 150 for number in range(0, 42, 3)])
@simulated
async def test_what_one_has_written_the_other_believes(fleet, skew, coarse_seconds):
    """By however little the time of one has to be changed for that of the other, and however coarse ages are."""
    fleet.cache.coarse_seconds = coarse_seconds
    async with started(fleet, 0.0) as (one,):
        await asyncio.sleep(40 + abs(skew) / 5)
        async with started(fleet, skew) as (other,):
            other.monitor.on_status(status_of(other.clock.now()))
            await asyncio.sleep(300)
            for each in (one, other):
                assert each.history.is_shared
                assert each.history.replicas == 2
                assert not each.shared.counts.refused_entries
