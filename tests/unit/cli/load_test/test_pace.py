"""When requests are asked, in simulated time: a server that stalls once is seen by all who would have waited."""

from __future__ import annotations

import asyncio

import pytest

from simulated import SimulatedLoop
from tasker_health.cli.load_test.pace import Pace, precise_loop
from tasker_health.cli.load_test.plan import MOST_AT_ONCE, Plan
from tasker_health.cli.load_test.record import Outcome, Record, percentile, spread

SERVICE_SECONDS = 0.001
STALL = (2.0, 3.0)
NEARLY_MS = 0.1


def stalled_until(now):
    """Return when a server that stalls once from 2 s to 3 s takes up what comes at *now*."""
    return STALL[1] if STALL[0] <= now < STALL[1] else now


def measured(plan, answer=None):
    """Return the record of *plan* against a server that stalls once, or does *answer*, and how long it took."""
    record = Record("live")

    async def go():
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def ask(_endpoint, seconds):
            if answer is not None:
                return await answer(seconds)
            now = loop.time() - began
            await asyncio.sleep(stalled_until(now) - now + SERVICE_SECONDS)
            return Outcome(200)

        await Pace(plan, ask, record, began).run()
        return loop.time() - began

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return record, runner.run(go())


def test_an_open_loop_tells_what_a_recount_of_all_due_times_finds():
    """Every percentile, to a tenth of a millisecond: a hundred of five hundred were due in the stall."""
    record, _ = measured(Plan(rate=100, seconds=5))
    expected = sorted((stalled_until(n / 100) - n / 100 + SERVICE_SECONDS) * 1000 for n in range(500))
    assert record.count == 500
    assert sorted(record.latency_ms) == pytest.approx(expected, abs=NEARLY_MS)
    found = spread(record.latency_ms)
    for name, value in found.percentiles.items():
        assert value == pytest.approx(percentile(expected, float(name)), abs=NEARLY_MS)
    assert found.percentiles["90"] > 490


def test_a_closed_loop_hides_the_stall():
    """One asker has one slow answer of thousands, and its 99th percentile is a millisecond: no default of ours."""
    record, _ = measured(Plan(concurrency=1, seconds=5))
    assert sum(ms > 100 for ms in record.latency_ms) == 1
    assert spread(record.latency_ms).percentiles["99"] == pytest.approx(1, abs=NEARLY_MS)


def test_more_than_may_be_under_way_wait_and_still_count_from_when_they_were_due():
    """A thousand are due in the stall, 256 of them can be asked; the rest is late by no less than a recount says."""
    record, _ = measured(Plan(rate=1000, seconds=5))
    assert record.count == 5000
    for due, ms in zip(record.due_seconds, record.latency_ms, strict=True):
        expected = (stalled_until(due) - due + SERVICE_SECONDS) * 1000
        assert expected - NEARLY_MS <= ms <= expected + 1000 * SERVICE_SECONDS * (1000 / MOST_AT_ONCE + 1)
    assert max(record.service_ms) < max(record.latency_ms)


def test_a_server_that_hangs_for_good_ends_each_request_at_its_patience():
    """Those that had to wait for a connection, too; the run ends when the last one's patience does."""

    async def never(seconds):
        await asyncio.sleep(seconds)
        return Outcome(0, "timeout")

    record, seconds = measured(Plan(rate=1000, seconds=1, timeout_seconds=2), never)
    assert record.faults.total() == record.count == 1000
    assert (min(record.latency_ms), max(record.latency_ms)) == pytest.approx((2000, 2000), abs=NEARLY_MS)
    assert seconds == pytest.approx(3, abs=0.01)


def test_a_closed_loop_does_not_hammer_a_server_that_refuses():
    """A tenth of a second between: a dead server would be asked thousands of times a second otherwise."""

    async def refuse(_seconds):
        return Outcome(0, "refused")

    record, _ = measured(Plan(concurrency=2, seconds=5), refuse)
    assert record.count == 100


def test_requests_are_the_most_that_are_asked():
    """In both loops, whatever the number of askers."""
    assert measured(Plan(rate=100, requests=7))[0].count == 7
    assert measured(Plan(concurrency=10, requests=25))[0].count == 25


def test_what_is_under_way_at_the_end_is_counted_as_unfinished():
    """Nobody takes a request that was given up for one that was answered."""

    async def go():
        record = Record("live")
        loop = asyncio.get_running_loop()

        async def hang(*_):
            await asyncio.sleep(1000)

        pace = asyncio.create_task(Pace(Plan(rate=10, seconds=100), hang, record, loop.time()).run())
        await asyncio.sleep(0.95)
        pace.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pace
        return record

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        record = runner.run(go())
    assert (record.count, record.unfinished) == (0, 10)


def test_timers_of_the_loop_end_within_a_millisecond():
    """At best: epoll rounds up to whole milliseconds, which would be added to each latency."""

    async def lateness():
        loop = asyncio.get_running_loop()
        found = []
        for _ in range(50):
            due = loop.time() + 0.0011
            await asyncio.sleep(0.0011)
            found.append(loop.time() - due)
        return min(found)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        assert runner.run(lateness()) < 0.0008
