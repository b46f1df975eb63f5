"""What every reading tells the objectives, alone and as a fleet."""

from __future__ import annotations

import asyncio

from fakes import shared_of
from tasker_health.assessment import Reading
from tasker_health.cache.memory import MemoryCache
from tasker_health.settings import SloSettings
from tasker_health.slo.fleet import ObjectivesFleet, Told
from tasker_health.slo.objectives import Objectives
from tasker_health.testing import FakeClock, facts_of
from tasker_health.work import OUTCOME_MINUTES, Outcome

NOW_MINUTE = 29_000_040
NOW = NOW_MINUTE * 60.0 + 30


def reading_of(outcomes, *, name="orders", at=NOW):
    """Return what was read of one source."""
    return Reading(name=name, facts=facts_of(outcomes=outcomes), read_at=at, read_at_monotonic=0.0)


def ends(*bad_by_age, version=None):
    """Return ten ends in each of the minutes before now, of which so many are bad, the latest first."""
    return tuple(
        Outcome(NOW_MINUTE - 1 - age, "ship", None, version, 10 - bad, bad) for age, bad in enumerate(bad_by_age)
    )


def test_minutes_without_an_end_were_seen():
    """A reading tells of a quarter of an hour: of minutes in which nothing ended, too; that under way is not over."""
    objectives = Objectives({"orders": SloSettings(objective=0.9)})
    objectives.see([reading_of((*ends(1), Outcome(NOW_MINUTE, "ship", None, None, 5, 5)))])
    seen = objectives.all[0].ledger.minutes
    assert sorted(seen) == list(range(NOW_MINUTE - OUTCOME_MINUTES + 2, NOW_MINUTE))
    assert seen[NOW_MINUTE - 1] == (9, 1, 1)
    assert objectives.reports(NOW)["orders"].burn_rates["5m"] == 1.0


def test_the_same_facts_are_taken_once():
    """Facts that are answered from the cache, again and again, change nothing."""
    objectives = Objectives({"orders": SloSettings(objective=0.9)})
    reading = reading_of(ends(1, 2))
    objectives.see([reading])
    version = objectives.all[0].ledger.version
    objectives.see([reading])
    assert objectives.all[0].ledger.version == version


def test_a_source_that_does_not_tell_leaves_a_gap():
    """Of all sources together nothing is known while one of them is silent; an objective of one source goes on."""
    objectives = Objectives({"all": SloSettings(objective=0.9), "orders": SloSettings(objective=0.9, source="orders")})
    for silent in (reading_of(None, name="mail"), Reading(name="mail")):
        objectives.see([reading_of(ends(1)), silent])
        assert not objectives.all[0].ledger.minutes
        assert objectives.all[1].ledger.minutes
    objectives.see([reading_of(ends(1)), reading_of(ends(3), name="mail")])
    assert objectives.all[0].ledger.minutes[NOW_MINUTE - 1] == (16, 4, 1)


def process(cache, clock):
    """Return what one process sees, and its way to the others."""
    objectives = Objectives({"orders": SloSettings(objective=0.9)})
    return objectives, ObjectivesFleet(objectives, shared_of(cache, clock), clock)


def test_a_fleet_knows_together_and_a_restart_forgets_nothing():
    """What each has seen, all know after a turn of each; a new process knows it at its first turn."""
    clock = FakeClock(NOW)
    cache = MemoryCache(clock.monotonic)
    one, two, new = (process(cache, clock) for _ in range(3))

    async def play():
        one[0].see([reading_of(ends(1, 1, 1))])
        two[0].see([reading_of(ends(0, 0, 0), at=NOW + 600)])
        for _ in range(2):
            await one[1].turn()
            await two[1].turn()
        await new[1].turn()

    asyncio.run(play())
    known = one[0].all[0].ledger.minutes
    assert known[NOW_MINUTE - 1] == (9, 1, 1)
    assert max(known) == NOW_MINUTE + 9
    assert two[0].all[0].ledger.minutes == new[0].all[0].ledger.minutes == known


def test_a_time_to_come_is_not_believed():
    """A document that would push out all that is seen, for it says that it is of next year, is left alone."""
    clock = FakeClock(NOW)
    cache = MemoryCache(clock.monotonic)
    (objectives, fleet), (_, forger) = process(cache, clock), process(cache, clock)

    async def play():
        objectives.see([reading_of(ends(1))])
        await forger._documents[0][1].save(Told([(NOW_MINUTE + 500_000, 1, 1, 1)], []), 600)
        await fleet.turn()

    asyncio.run(play())
    assert max(objectives.all[0].ledger.minutes) == NOW_MINUTE - 1
