"""What pushes to monitoring systems: each in its own period, and none holds up another, the loop or the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from simulated import simulated
from tasker_health.errors import DeliveryError
from tasker_health.exporters.pushing import Pushing


class Pushed:
    """An exporter that notes when it is handed what, and behaves as a test wants."""

    def __init__(self, name="one", interval_seconds=30.0):
        self.name = name
        self.interval_seconds = interval_seconds
        self.at = []
        self.handed = []
        self.behaviour = None
        self.closed = 0

    async def push(self, snapshot):
        """Note it; then whatever the test wants."""
        self.at.append(asyncio.get_running_loop().time())
        self.handed.append(snapshot)
        if self.behaviour is not None:
            await self.behaviour()

    async def close(self):
        """Note it."""
        self.closed += 1


class Hang:
    """A behaviour that does not end before it is let go, whoever cancels it."""

    def __init__(self):
        self.ended = asyncio.Event()

    async def __call__(self):
        """Wait for the end."""
        while not self.ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.ended.wait()


def refuse(detail="it refuses"):
    """Return a behaviour that fails with *detail*."""

    async def behaviour():
        raise DeliveryError(detail)

    return behaviour


async def take():
    """Return what there is to tell: the time."""
    return asyncio.get_running_loop().time()


def periods(exporter):
    """Return the times between pushes of *exporter*."""
    return [after - before for before, after in zip(exporter.at, exporter.at[1:], strict=False)]


@simulated
async def test_each_is_handed_what_there_is_to_tell_in_its_own_period(fleet):
    """An hour: every 30 s and every 60 s, what was taken just then; all is counted."""
    fast, slow = Pushed("fast", 30), Pushed("slow", 60)
    deliveries = {}
    pushing = Pushing([fast, slow], take, deliveries)
    began = fleet.clock.monotonic()
    pushing.start()
    pushing.start()
    await asyncio.sleep(3600)
    assert (len(fast.at), len(slow.at)) == (120, 60)
    assert periods(fast) == pytest.approx([30] * 119, abs=0.01)
    assert fast.handed == pytest.approx(fast.at, abs=0.01)
    assert fast.at[0] - began <= 1
    assert deliveries["fast"].results == {"sent": 120}
    await pushing.stop()
    assert (fast.closed, slow.closed) == (1, 1)
    assert fleet.loop.timers == []


@simulated
async def test_one_that_hangs_costs_the_others_nothing(fleet):
    """It is given up after ten seconds and counted; while it has not returned it is not asked again, then it is."""
    stuck, well = Pushed("stuck"), Pushed("well")
    stuck.behaviour = hang = Hang()
    deliveries = {}
    pushing = Pushing([stuck, well], take, deliveries)
    pushing.start()
    await asyncio.sleep(300)
    assert periods(well) == pytest.approx([30] * 9, abs=0.01)
    assert len(stuck.at) == 1
    assert deliveries["stuck"].results["failed"] == 10
    assert "has not returned" in deliveries["stuck"].error
    hang.ended.set()
    await asyncio.sleep(60)
    assert deliveries["stuck"].results["sent"] >= 1
    await pushing.stop()


@simulated
async def test_a_snapshot_that_cannot_be_taken_is_a_push_that_failed(fleet):
    """The exporter is not asked; the next period tries again."""
    told = Pushed()

    async def broken():
        raise RuntimeError("no snapshot")

    deliveries = {}
    pushing = Pushing([told], broken, deliveries)
    pushing.start()
    await asyncio.sleep(100)
    assert told.at == []
    assert deliveries["one"].results["failed"] == 4
    await pushing.stop()


def test_a_failure_is_told_once_and_its_end_too(caplog):
    """The first and every twentieth in a row, and that it delivers again; not one line for each."""

    @simulated
    async def run(fleet):
        told = Pushed(interval_seconds=1)
        told.behaviour = refuse()
        pushing = Pushing([told], take, deliveries)
        pushing.start()
        await asyncio.sleep(45.5)
        told.behaviour = None
        await asyncio.sleep(5)
        await pushing.stop()

    deliveries = {}
    with caplog.at_level(logging.INFO):
        run()
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "it refuses" in line]) == 3
    assert lines[-1] == "exporter one: delivers again"
    assert deliveries["one"].error is None


@simulated
async def test_it_ends_soon_whatever_hangs(fleet):
    """Neither a push nor a close that hangs keeps the process from ending; it may be started again."""
    stuck = Pushed()
    stuck.behaviour = stuck.close = hang = Hang()
    pushing = Pushing([stuck], take, {})
    pushing.start()
    await asyncio.sleep(2)
    began = fleet.clock.monotonic()
    await pushing.stop()
    assert fleet.clock.monotonic() - began <= 2.1
    hang.ended.set()
    pushing.start()
    await asyncio.sleep(2)
    assert len(stuck.at) == 2
    await pushing.stop()


@simulated
async def test_a_late_loop_makes_up_for_nothing(fleet):
    """Periods that went by while the loop stood still are not pushed one after the other."""
    told = Pushed(interval_seconds=10)
    pushing = Pushing([told], take, {})
    pushing.start()
    await asyncio.sleep(15)
    fleet.clock.move(600)
    await asyncio.sleep(0.1)
    before = len(told.at)
    await asyncio.sleep(25)
    assert len(told.at) - before <= 3
    await pushing.stop()
