"""A fleet that alerts through everything that happens to fleets: in simulated hours."""

from __future__ import annotations

import asyncio

import pytest

from alerting_fleet import simulated_fleet
from tasker_health.alerts import Action
from tasker_health.errors import DeliveryError
from tasker_health.model import CheckResult, CheckStatus, Reason, StatusReason, SystemStatus

TWENTY = [f"p{number}" for number in range(20)]
STATUS, CHECK = "tasker-health/shop/status", "tasker-health/shop/check:database"
BEGINS, ENDS = 120, 450
"""Within so many seconds an incident has begun, and ended: for_seconds and clear_seconds, and some turns."""


@simulated_fleet
async def test_twenty_processes_tell_of_one_incident(fleet):
    """One key, one beginning, one end, whatever the clocks say; and nobody is told of a system that is well."""
    fleet.begin(*TWENTY)
    await asyncio.sleep(600)
    assert fleet.receiver.log == []
    for _ in range(2):
        fleet.receiver.log.clear()
        fleet.world.break_down()
        await asyncio.sleep(BEGINS)
        assert fleet.receiver.open == {STATUS}
        fleet.world.recover()
        await asyncio.sleep(ENDS)
        assert [told.event.action for told in fleet.receiver.log] == [Action.TRIGGER, Action.RESOLVE]
        assert fleet.receiver.keys == {STATUS}
    assert all(told.event.since <= told.event.at for told in fleet.receiver.log)


@simulated_fleet
async def test_flapping_is_one_incident(fleet):
    """What comes and goes within clear_seconds is told once; what never lasts for for_seconds is not told."""
    fleet.begin(*TWENTY[:5])
    for _ in range(20):
        fleet.world.break_down()
        await asyncio.sleep(40)
        fleet.world.recover()
        await asyncio.sleep(40)
    assert fleet.receiver.log == []
    for _ in range(10):
        fleet.world.break_down()
        await asyncio.sleep(200)
        fleet.world.recover()
        await asyncio.sleep(200)
    await asyncio.sleep(ENDS)
    assert (fleet.receiver.count(Action.TRIGGER), fleet.receiver.count(Action.RESOLVE)) == (1, 1)


@simulated_fleet
async def test_one_failing_replica_is_told_and_not_ended_by_the_others(fleet):
    """Its check fails, those of nineteen others do not: one incident, for as long as it lasts."""
    fleet.begin(*TWENTY)
    fleet.world.failing.add("p7")
    await asyncio.sleep(900)
    assert fleet.receiver.open == {CHECK}
    assert fleet.receiver.count(Action.TRIGGER) == 1
    assert fleet.receiver.log[0].event.details["processes"] == 1
    fleet.world.failing.clear()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()
    assert fleet.receiver.count(Action.RESOLVE) == 1


@simulated_fleet
async def test_a_dead_replica_holds_no_incident_open(fleet):
    """It failed, and died of it: the others end the incident, but not sooner than its voice has lapsed."""
    processes = fleet.begin(*TWENTY[:5])
    fleet.world.failing.add("p3")
    await asyncio.sleep(BEGINS)
    assert fleet.receiver.open == {CHECK}
    processes[3].die()
    await asyncio.sleep(200)
    assert fleet.receiver.open == {CHECK}
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()


@simulated_fleet
async def test_a_replica_that_fails_once_and_goes_pages_nobody(fleet):
    """A pod that ends lost its database a moment before: it was so for one look, and nobody can say for longer."""
    fleet.begin(*TWENTY[:5])
    await asyncio.sleep(200)
    for process in list(fleet.processes[:3]):
        fleet.world.failing.add(process.name)
        await asyncio.sleep(20)
        process.die()
        await asyncio.sleep(200)
    assert fleet.receiver.log == []


@simulated_fleet
async def test_what_is_not_known_ends_nothing(fleet):
    """The failing check is not run any more, or its process cannot look: the incident stays."""
    fleet.begin(*TWENTY[:3])
    fleet.world.failing.add("p1")
    await asyncio.sleep(BEGINS)
    fleet.world.unknown.add("p1")
    await asyncio.sleep(900)
    fleet.world.unknown.clear()
    fleet.world.hanging.add("p1")
    await asyncio.sleep(900)
    assert fleet.receiver.open == {CHECK}
    assert fleet.receiver.count(Action.RESOLVE) == 0
    fleet.world.hanging.clear()
    fleet.world.failing.clear()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()


@pytest.mark.parametrize("step", range(8))
@simulated_fleet
async def test_a_process_may_die_at_any_point(fleet, step):
    """While an incident begins, is sent or ends: the others go on, and it is told and ended."""
    fleet.receiver.seconds = 2.0
    fleet.begin(*TWENTY[:3])
    await asyncio.sleep(30)
    fleet.world.break_down()
    await asyncio.sleep(60 + 3 * step)
    fleet.processes[step % 3].die()
    await asyncio.sleep(BEGINS)
    assert fleet.receiver.open == {STATUS}
    fleet.world.recover()
    fleet.begin("late")
    await asyncio.sleep(295 - BEGINS + 3 * step)
    fleet.processes[(step + 1) % 3].die()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()
    assert fleet.receiver.keys == {STATUS}


@simulated_fleet
async def test_the_sender_dies_in_the_middle(fleet):
    """The event was under way: another process sends it, no later than the lease and a look."""
    fleet.begin(*TWENTY[:3])
    fleet.receiver.seconds = 5.0
    fleet.world.break_down()
    while not fleet.receiver.attempts:
        await asyncio.sleep(0.5)
    (lease,) = [key for key in fleet.cache.leases if "sender" in key]
    holder = fleet.cache._kept[lease].value
    (sender,) = [each for each in fleet.processes if each.alerting._document._holder == holder]
    sender.die()
    fleet.receiver.seconds = 0.1
    await asyncio.sleep(20)
    assert fleet.receiver.open == {STATUS}
    assert sender.name not in {told.process for told in fleet.receiver.log}


@simulated_fleet
async def test_a_hanging_endpoint_blocks_no_turn(fleet):
    """Nothing is taken for an hour, and the ledger goes on; then all of it is told, in order, and nothing waits."""
    fleet.begin(*TWENTY[:5])
    fleet.receiver.hangs = True
    fleet.world.break_down()
    await asyncio.sleep(1200)
    fleet.world.recover()
    await asyncio.sleep(1200)
    attempts = fleet.receiver.attempts
    fleet.receiver.hangs = False
    await asyncio.sleep(900)
    actions = [told.event.action for told in fleet.receiver.log]
    assert (actions[0], actions[-1]) == (Action.TRIGGER, Action.RESOLVE)
    assert fleet.receiver.open == set()
    assert attempts < 60, "with rests, and one process at a time"
    assert [each.counts.pending for each in fleet.processes] == [0] * 5


@pytest.mark.parametrize("trouble", [Reason.UNREACHABLE, Reason.READ_ONLY, "hangs"])
@simulated_fleet
async def test_without_the_cache_every_process_tells_and_none_ends(fleet, trouble):
    """The cache is away when it begins and when it ends: told under one key, and ended when the fleet can be asked."""
    fleet.begin(*TWENTY[:5])
    await asyncio.sleep(60)
    if trouble == "hangs":
        fleet.cache.hangs = True
    else:
        fleet.cache.fault = trouble
    fleet.world.break_down()
    fleet.world.failing |= {"p2", "p3"}
    await asyncio.sleep(300)
    assert fleet.receiver.open == {STATUS, CHECK}
    fleet.world.facts = {}
    fleet.world.failing.discard("p3")
    await asyncio.sleep(900)
    assert fleet.receiver.count(Action.RESOLVE) == 0
    fleet.cache.hangs, fleet.cache.fault = False, None
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == {CHECK}
    fleet.world.recover()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()


@simulated_fleet
async def test_a_process_that_is_cut_off_ends_nothing_of_others(fleet):
    """It alone cannot reach the cache, and is well: the incident of another process stays open."""
    processes = fleet.begin(*TWENTY[:4])
    fleet.world.failing.add("p1")
    await asyncio.sleep(BEGINS)
    processes[3].way.fault = Reason.UNREACHABLE
    await asyncio.sleep(900)
    processes[3].way.fault = None
    await asyncio.sleep(600)
    assert fleet.receiver.count(Action.RESOLVE) == 0
    assert fleet.receiver.open == {CHECK}


@simulated_fleet
async def test_what_a_process_saw_alone_is_merged_in(fleet):
    """It failed while it was cut off, and nobody took its page: the fleet brings it, and ends it when it is over."""
    processes = fleet.begin(*TWENTY[:4])
    await asyncio.sleep(60)
    processes[2].way.fault = Reason.UNREACHABLE
    fleet.receiver.fault = DeliveryError("it is down")
    fleet.world.failing.add("p2")
    await asyncio.sleep(300)
    processes[2].way.fault = None
    await asyncio.sleep(60)
    fleet.receiver.fault = None
    await asyncio.sleep(300)
    assert fleet.receiver.open == {CHECK}
    fleet.world.failing.clear()
    await asyncio.sleep(60)
    processes[2].die()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()


@pytest.mark.parametrize("how", ["empty", "poisoned", "put back"])
@simulated_fleet
async def test_a_cache_that_forgets_loses_no_incident(fleet, how):
    """Restarted empty, filled with what is not ours, or with an old ledger: what is open is ended when it is over."""
    fleet.begin(*TWENTY[:5])
    await asyncio.sleep(60)
    (key,) = [each for each in fleet.cache._kept if "ledger" in each and not each.endswith(":lease")]
    old = fleet.cache._kept[key]
    fleet.world.failing.add("p4")
    fleet.receiver.fault = DeliveryError("it is down")
    await asyncio.sleep(200)
    for _ in range(5):
        if how == "empty":
            fleet.cache.empty()
        else:
            value = old.value if how == "put back" else b"tasker-health/2 -\n{" + b"x" * 5000
            await fleet.cache.put(key, value, 600)
        await asyncio.sleep(61)
    fleet.receiver.fault = None
    await asyncio.sleep(600)
    assert fleet.receiver.open == {CHECK}
    assert fleet.receiver.count(Action.RESOLVE) == 0
    fleet.world.recover()
    await asyncio.sleep(ENDS)
    assert fleet.receiver.open == set()


@simulated_fleet
async def test_a_coarse_clock_of_the_cache_makes_nothing_older(fleet):
    """Ages are up to three seconds too much, twenty times in fifteen seconds: a minute is still one, and an hour."""
    fleet.cache.coarse_seconds = 3.0
    fleet.set(keep_seconds=1500)
    fleet.begin(*TWENTY)
    await asyncio.sleep(300)
    fleet.receiver.fault = DeliveryError("it is down")
    began = fleet.clock.monotonic()
    fleet.world.break_down()
    while not fleet.receiver.attempts:
        await asyncio.sleep(1)
    assert 50 <= fleet.clock.monotonic() - began < BEGINS
    await asyncio.sleep(1000)
    fleet.receiver.fault = None
    await asyncio.sleep(310)
    assert fleet.receiver.open == {STATUS}


@simulated_fleet
async def test_after_an_outage_everybody_is_heard_before_anything_ends(fleet):
    """Another process fails than before the outage, and has not spoken yet when the first turn is taken."""
    fleet.set(clear_seconds=0)
    processes = fleet.begin(*TWENTY[:3])
    fleet.world.failing |= {"p1", "p9"}
    await asyncio.sleep(BEGINS)
    assert fleet.receiver.open == {CHECK}
    fleet.cache.fault = Reason.REFUSED
    processes[1].die()
    await asyncio.sleep(300)
    fleet.cache.empty()
    fleet.cache.fault = None
    await asyncio.sleep(20)
    fleet.begin("p9")
    await asyncio.sleep(300)
    assert fleet.receiver.count(Action.RESOLVE) == 0
    fleet.world.recover()
    await asyncio.sleep(BEGINS)
    assert fleet.receiver.open == set()


@simulated_fleet
async def test_a_sender_without_a_way_out_lets_another_one_try(fleet):
    """Its node lets nothing out, and it has the lease: the page is late, and comes."""
    (first,) = fleet.begin("p0")
    first.channel.is_cut = True
    fleet.world.break_down()
    await asyncio.sleep(80)
    fleet.begin("p1", "p2")
    await asyncio.sleep(900)
    assert fleet.receiver.open == {STATUS}
    assert "p0" not in fleet.receiver.tried_by


@simulated_fleet
async def test_what_a_receiver_breaks_at_keeps_nothing_else_from_it(fleet):
    """It answers 500 to the events of two incidents, again and again: a third one is told all the same."""
    (process,) = fleet.begin("p0")
    process.channel.breaks_at = {"check:a", "check:b"}
    failing = CheckResult(status=CheckStatus.ERROR, reason=Reason.TIMEOUT)
    fleet.world.facts = {"checks": {"a": failing, "b": failing, "c": failing}}
    await asyncio.sleep(1800)
    assert fleet.receiver.keys == {"tasker-health/shop/check:c"}
    assert process.channel.attempts < 60, "with rests"


@simulated_fleet
async def test_a_slow_cache_delays_and_loses_nothing(fleet):
    """Each answer takes nearly as long as it may: twenty processes get their turns all the same."""
    fleet.cache.seconds = 0.15
    fleet.begin(*TWENTY)
    await asyncio.sleep(60)
    fleet.world.break_down()
    await asyncio.sleep(BEGINS + 60)
    assert fleet.receiver.open == {STATUS}
    fleet.world.recover()
    await asyncio.sleep(ENDS + 60)
    assert fleet.receiver.open == set()
    assert fleet.receiver.count(Action.TRIGGER) == 1


@simulated_fleet
async def test_a_restart_of_all_with_a_page_that_waits(fleet):
    """Nobody took the page, all processes end: those that begin afterwards send it, though all is well by then."""
    first = fleet.begin("p0", "p1")
    fleet.receiver.fault = DeliveryError("it is down")
    fleet.world.break_down()
    await asyncio.sleep(BEGINS)
    for process in first:
        await process.alerting.stop()
        assert process.channel.closed == 1
    assert fleet.cache.leases == []
    fleet.receiver.fault = None
    fleet.world.recover()
    await asyncio.sleep(900)
    assert fleet.receiver.log == []
    fleet.begin("p2", "p3")
    await asyncio.sleep(60)
    assert [told.event.action for told in fleet.receiver.log] == [Action.TRIGGER]
    await asyncio.sleep(ENDS)
    assert [told.event.action for told in fleet.receiver.log] == [Action.TRIGGER, Action.RESOLVE]


@simulated_fleet
async def test_updates_are_rare_and_worse_is_told_at_once(fleet):
    """Other figures are told every update_seconds; a graver severity in the next turn."""
    fleet.set(rules={"status": "degraded", "checks": "off", "total_failure_ratio": False})
    fleet.begin("p0")
    fleet.world.facts = {"status": SystemStatus.DEGRADED, "reasons": [StatusReason.BLOCKED_TASKS]}
    for number in range(200):
        fleet.world.facts["total"] = 100 + number
        await asyncio.sleep(15)
    assert 3 <= fleet.receiver.count(Action.UPDATE) <= 4
    before = fleet.receiver.count(Action.UPDATE)
    fleet.world.break_down()
    await asyncio.sleep(35)
    assert fleet.receiver.count(Action.UPDATE) == before + 1
    assert fleet.receiver.log[-1].event.severity == "critical"


@simulated_fleet
async def test_a_full_queue_is_bounded_counted_and_said(fleet, caplog):
    """Nobody takes anything while incidents come and go: the oldest pairs go, and the fleet's last word is right."""
    fleet.set(most_pending=4, for_seconds=0, clear_seconds=0)
    fleet.receiver.fault = DeliveryError("it is down")
    processes = fleet.begin("p0", "p1")
    await asyncio.sleep(BEGINS)
    for _ in range(8):
        fleet.world.break_down()
        await asyncio.sleep(30)
        fleet.world.recover()
        await asyncio.sleep(30)
    assert all(each.counts.pending <= 4 for each in processes)
    assert sum(each.counts.dropped["full"] for each in processes) == 12
    assert "too much waits; dropped: trigger of status, resolve of status" in caplog.text
    fleet.receiver.fault = None
    await asyncio.sleep(310)
    assert [told.event.action for told in fleet.receiver.log] == [Action.TRIGGER, Action.RESOLVE] * 2
