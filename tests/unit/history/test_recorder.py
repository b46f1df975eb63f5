"""One process that remembers the last hour, in simulated time."""

from __future__ import annotations

import asyncio

from fakes import facts_of
from remembering import ERROR, OK, Rememberer, readiness_of, status_of
from simulated import simulated
from tasker_health.cache.memory import MemoryCache
from tasker_health.model import CheckResult, CheckStatus, Reason, SystemStatus

HOUR = 3600
DRAINING = CheckResult(status=CheckStatus.ERROR, reason=Reason.DRAINING)


def alone(fleet, **history):
    """Return a process without a cache that others see."""
    return Rememberer(fleet, cache=MemoryCache(fleet.clock.monotonic), **history)


@simulated
async def test_it_reads_once_in_each_slot(fleet):
    """When nobody asks, there is one reading in each slot but the one in which it starts; so there are no gaps."""
    async with alone(fleet) as one:
        await asyncio.sleep(2 * HOUR)
        began = 100.0
        assert 238 <= len(one.monitor.asked) <= 240
        assert one.monitor.asked[0] - began >= 15
        gaps = [later - earlier for earlier, later in zip(one.monitor.asked, one.monitor.asked[1:], strict=False)]
        assert all(29.9 < gap < 30.1 for gap in gaps)
        history = one.history
        assert history.slot_seconds == 30
        assert history.replicas == 1
        assert not history.is_shared
        assert None not in history.status[:-1]
        assert set(history.completed_per_minute[1:-1]) <= {rate / 100 for rate in range(5700, 6300)}
        assert len(history.status) == 120
        assert abs(history.timestamp.timestamp() - fleet.clock.time) <= 31


@simulated
async def test_what_failed_between_two_readings_is_seen(fleet):
    """What anybody was told counts: a check that failed for two seconds, a status that was bad for one."""
    async with alone(fleet) as one:
        await asyncio.sleep(100)
        one.monitor.on_readiness(readiness_of(database=ERROR, cache=OK))
        one.monitor.on_status(status_of(fleet.clock.time, SystemStatus.UNHEALTHY))
        one.monitor.on_readiness(readiness_of(database=OK, cache=OK))
        history = one.history
        assert history.status[-1] is SystemStatus.UNHEALTHY
        assert history.checks["database"].status[-1] is CheckStatus.ERROR
        assert history.checks["database"].response_time_ms[-1] == 800
        assert history.checks["cache"].status[-2:] == [None, CheckStatus.OK]
        assert history.checks["database"].status[-2] is CheckStatus.OK
        await asyncio.sleep(60)
        assert one.history.checks["database"].status[-3:-1] == [CheckStatus.ERROR, CheckStatus.OK]


@simulated
async def test_nothing_is_remembered_beyond_an_hour(fleet):
    """What was bad an hour ago is forgotten; without any reading since, every slot is unknown."""
    one = alone(fleet)
    one.monitor.on_status(status_of(fleet.clock.time, SystemStatus.UNHEALTHY))
    fleet.clock.move(HOUR - 30)
    assert one.history.status.count(SystemStatus.UNHEALTHY) == 1
    fleet.clock.move(60)
    assert set(one.history.status) == {None}


@simulated
async def test_a_wall_clock_that_is_set_moves_no_slot(fleet):
    """Half an hour back and a day ahead: the slots go on, one after the other, and no rate is wrong."""
    async with alone(fleet) as one:
        await asyncio.sleep(HOUR)
        for jump in (-1800.0, 86_400.0):
            fleet.clock.time += jump
            await asyncio.sleep(600)
            history = one.history
            assert None not in history.status[1:-1]
            assert all(57 <= rate <= 63 for rate in history.completed_per_minute[1:-1] if rate is not None)
            assert abs(history.timestamp.timestamp() - fleet.clock.time) <= 31


@simulated
async def test_a_process_that_was_stopped_has_seen_nothing_meanwhile(fleet):
    """Slots that passed while it could not look are unknown, and the ones before are where they were."""
    async with alone(fleet) as one:
        await asyncio.sleep(600)
        fleet.clock.move(300)
        await asyncio.sleep(120)
        status = one.history.status
        assert status[-15:-6].count(None) >= 8
        assert None not in status[-5:-1]
        assert status[-20:-15] == [SystemStatus.HEALTHY] * 5
        assert len(one.monitor.asked) <= 24


@simulated
async def test_a_monitor_that_fails_or_hangs_ends_nothing(fleet):
    """The slots in which it did are unknown; the next ones are not."""
    async with alone(fleet) as one:
        await asyncio.sleep(100)
        one.monitor.fault = RuntimeError("secret detail")
        await asyncio.sleep(90)
        one.monitor.fault, one.monitor.seconds = None, HOUR
        await asyncio.sleep(90)
        one.monitor.seconds = 0.0
        await asyncio.sleep(90)
        status = one.history.status
        assert status[-8:-4].count(None) >= 3
        assert None not in status[-3:-1]


@simulated
async def test_a_process_that_is_about_to_stop_is_no_trouble(fleet):
    """That it drains is not written down as a check that failed."""
    async with alone(fleet) as one:
        await asyncio.sleep(100)
        one.monitor.on_readiness = lambda _report: None
        one.monitor.checks = {"database": OK, "server": DRAINING}
        await asyncio.sleep(100)
        assert set(one.history.checks) == {"database"}


@simulated
async def test_facts_that_are_too_old_are_no_figures(fleet):
    """What was read long before the slot is not told as its own, nor are figures that cannot be; the status is."""
    one = alone(fleet)
    one.monitor.on_status(status_of(fleet.clock.time - 40, SystemStatus.DEGRADED, cached=True, age_seconds=40))
    one.monitor.on_status(status_of(fleet.clock.time, completed=-1))
    history = one.history
    assert history.status[-1] is SystemStatus.DEGRADED
    assert history.tasks["completed"][-1] is None
    one.monitor.on_status(status_of(fleet.clock.time - 10, cached=True, age_seconds=10, completed=facts_of().completed))
    assert one.history.tasks["completed"][-1] == facts_of().completed


@simulated
async def test_a_process_that_was_forked_begins_anew(fleet):
    """What the parent has seen is the parent's to tell."""
    async with alone(fleet) as one:
        await asyncio.sleep(100)
        one.recorder.forget()
        assert set(one.history.status) == {None}
        assert one.history.replicas == 0
        one.recorder.start()
        await asyncio.sleep(100)
        assert set(one.history.status) == {None, SystemStatus.HEALTHY}


@simulated
async def test_the_same_history_is_made_once(fleet):
    """As long as nothing was seen and no slot has passed, whoever asks gets the same."""
    one = alone(fleet)
    one.monitor.on_status(status_of(fleet.clock.time))
    first = one.history
    assert one.history is first
    one.monitor.on_status(status_of(fleet.clock.time, SystemStatus.DEGRADED))
    assert one.history is not first


@simulated
async def test_a_rate_is_over_the_time_between_the_readings(fleet):
    """Not between the moments when they were told; what was read once and told in two slots has none."""
    one = alone(fleet)
    began = fleet.clock.time
    one.monitor.on_status(status_of(began, completed=100))
    fleet.clock.move(30)
    one.monitor.on_status(status_of(began + 20, completed=140, cached=True, age_seconds=10))
    fleet.clock.move(25)
    one.monitor.on_status(status_of(began + 20, completed=140, cached=True, age_seconds=35))
    fleet.clock.move(5)
    one.monitor.on_status(status_of(began + 20, completed=140, cached=True, age_seconds=28))
    fleet.clock.move(30)
    one.monitor.on_status(status_of(began + 90, completed=145))
    rates = one.history.completed_per_minute[-4:]
    assert rates[0] is rates[2] is None
    assert 114 <= rates[1] <= 126
    assert 4 <= rates[3] <= 4.5


@simulated
async def test_facts_that_were_read_for_the_history_alone_are_not_renewed(fleet):
    """Who asks for the status has them renewed when they expire, as ever."""
    reader = fleet.set(cache_duration_seconds=15).replica().reader
    await reader.reading(renew=False)
    await asyncio.sleep(60)
    assert len(fleet.source.begun) == 1
    await reader.reading()
    await asyncio.sleep(20)
    assert len(fleet.source.begun) == 3
    await reader.close()
