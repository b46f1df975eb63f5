"""The application's side of the guard goes on when there is no memory for a while."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from fakes import settings_of
from tasker_health import guarded as guarded_module
from tasker_health.guard.heartbeat import Heartbeat
from tasker_health.guard.memory import Memory, start_time
from tasker_health.guarded import Guarded


class FakeSlot:
    """Counts beats, and fails as often as a test wants."""

    def __init__(self):
        self.beats = self.failures = 0

    def beat(self, lag_ns):
        """Count a beat."""
        if self.failures:
            self.failures -= 1
            raise MemoryError
        self.beats += 1


async def until(condition):
    """Wait until *condition* holds, for a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_beat_that_finds_no_memory_is_not_the_last():
    """The next one has been called for before anything could fail."""
    slot = FakeSlot()

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        heartbeat = Heartbeat(0.01, 1)
        heartbeat.start(lambda: slot)
        await until(lambda: slot.beats)
        slot.failures = 3
        seen = slot.beats
        await until(lambda: slot.beats > seen + 3)
        heartbeat.stop()

    asyncio.run(run())


def test_a_timer_that_could_not_be_had_is_had_later():
    """When there was not even memory to call for the next beat, `go_on` does so once it is overdue."""
    slot = FakeSlot()

    async def run():
        heartbeat = Heartbeat(0.01, 1)
        heartbeat.start(lambda: slot)
        await until(lambda: slot.beats)
        heartbeat._timer.cancel()
        await asyncio.sleep(0.05)
        seen = slot.beats
        heartbeat.go_on()
        await until(lambda: slot.beats > seen + 2)
        heartbeat.stop()

    asyncio.run(run())


class NoMemory:
    """Fails three times, in one place.

    Attributes:
        made: How often reports were asked for.
    """

    def __init__(self, where, monkeypatch):
        self.made = 0
        self._left = 3
        self._where = where
        self._wait_for = asyncio.wait_for
        if where == "the log":
            monkeypatch.setattr(guarded_module.log, "exception", lambda *_: self.fail())
        if where == "the wait":
            monkeypatch.setattr(guarded_module.asyncio, "wait_for", self.wait_for)

    @property
    def is_over(self):
        """Whether there is memory again."""
        return self._left == 0

    def fail(self):
        """Raise, three times."""
        if self._left:
            self._left -= 1
            raise MemoryError

    async def reports(self):
        """Return the reports, or fail."""
        self.made += 1
        if self._where == "the reports":
            self.fail()
        if self._where == "the log":
            raise OSError
        return {}

    async def wait_for(self, waiting, seconds):
        """Wait, or fail."""
        try:
            self.fail()
        except MemoryError:
            waiting.close()
            raise
        return await self._wait_for(waiting, seconds)


@pytest.mark.parametrize("where", ["the reports", "the log", "the wait"])
def test_a_publication_that_finds_no_memory_is_not_the_last(monkeypatch, where):
    """Wherever the memory ends, reports are made again when there is some."""
    lacking = NoMemory(where, monkeypatch)

    async def run():
        settings = settings_of(guard={"enabled": True, "port": 0}, health={"readiness_max_age_seconds": 0.01})
        beside = Guarded(settings, lacking.reports, alone=True)
        beside._period = 0.01
        beside.start()
        await until(lambda: lacking.is_over and lacking.made > 6)
        await beside.stop()

    asyncio.run(run())


@pytest.mark.parametrize(("policy", "stands"), [("all", True), ("any", False)])
def test_a_worker_that_stalls_is_held_against_all_where_the_policy_says_so(policy, stands):
    """What feeds a service manager's watchdog follows `health.liveness_policy`, as the guard does."""
    settings = settings_of(health={"liveness_policy": policy})
    guarded = Guarded(settings, reports=None, alone=True)
    memory = guarded.guard._memory = Memory.create()
    try:
        memory.take()
        other = memory.take()
        assert guarded.stands
        at = other._at
        other._words[at], other._words[at + 1] = os.getppid(), start_time(os.getppid())
        assert guarded.stands
        other._words[at + 2] = time.monotonic_ns() - int((settings.health.liveness_stall_seconds + 1) * 1e9)
        assert guarded.stands is stands
        other._words[at + 1] += 1  # it has ended, and somebody else has its id
        assert guarded.stands
    finally:
        guarded.guard.close()
