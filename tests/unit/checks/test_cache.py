"""The check of the cache: what it tells, how often it asks, and that readiness never depends on it."""

from __future__ import annotations

import asyncio
import time

import pytest

from fakes import FakeClock, FakeSource, settings_of, shared_of
from loop import in_loop
from tasker_health import Health
from tasker_health.cache.memory import MemoryCache
from tasker_health.checks.cache import EVERY_SECONDS, CacheCheck
from tasker_health.errors import CacheFault, CheckDegraded
from tasker_health.model import CheckStatus, Reason

TIMEOUT_SECONDS = 0.1
IN_TIME_SECONDS = 2


class Troubled(MemoryCache):
    """A cache that can be in trouble, and counts what is asked of it."""

    name = "mine"

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.monotonic)
        self.reason: Reason | None = None
        self.is_hung = False
        self.asked = 0

    async def get(self, key):
        """Return what lies there."""
        await self._suffer()
        return await super().get(key)

    async def put(self, key, value, keep_seconds):
        """Keep it."""
        await self._suffer()
        await super().put(key, value, keep_seconds)

    async def _suffer(self):
        self.asked += 1
        if self.is_hung:
            await asyncio.Event().wait()
        if self.reason is not None:
            raise CacheFault(self.reason)


class Scene:
    """A check of a cache that a test can trouble."""

    def __init__(self, timeout_seconds: float = 10) -> None:
        self.clock = FakeClock()
        self.cache = Troubled(self.clock)
        shared = shared_of(self.cache, self.clock, timeout_seconds=TIMEOUT_SECONDS)
        self.check = CacheCheck(shared, timeout_seconds=timeout_seconds, clock=self.clock)

    async def reason(self) -> Reason | None:
        """Return why the cache is not well, a second later."""
        self.clock.move(EVERY_SECONDS)
        return await self.reason_now()

    async def reason_now(self) -> Reason | None:
        """Return why the cache is not well."""
        try:
            await self.check()
        except CheckDegraded as degraded:
            return degraded.reason
        return None


@in_loop
async def test_a_cache_that_is_well_is_well():
    """From the first time on."""
    scene = Scene()
    assert [await scene.reason() for _ in range(5)] == [None] * 5


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.INVALID])
@in_loop
async def test_trouble_is_told_at_once_and_its_end_within_two_seconds(reason):
    """With its reason, as an impairment and never as an error."""
    scene = Scene()
    await scene.reason()
    scene.cache.reason = reason
    assert await scene.reason() is reason
    assert await scene.reason() is reason
    scene.cache.reason = None
    answers = [await scene.reason() for _ in range(2)]
    assert answers[-1] is None


@in_loop
async def test_however_many_ask_it_asks_once_a_second():
    """And the others are told the same."""
    scene = Scene()
    await scene.reason()
    scene.cache.reason, scene.cache.asked = Reason.READ_ONLY, 0
    scene.clock.move(EVERY_SECONDS)
    answers = [await scene.reason_now() for _ in range(100)]
    assert set(answers) == {Reason.READ_ONLY}
    assert scene.cache.asked == 2, "one get and one put"


@in_loop
async def test_a_hung_cache_is_a_timeout_in_time():
    """Also where readiness has less patience than the cache may take; the next asker is told without waiting."""
    for patience_seconds in (TIMEOUT_SECONDS / 2, 10):
        scene = Scene(patience_seconds)
        await scene.reason()
        scene.cache.is_hung = True
        began = time.monotonic()
        assert await scene.reason() is Reason.TIMEOUT
        assert time.monotonic() - began < IN_TIME_SECONDS


@in_loop
async def test_readiness_does_not_depend_on_it():
    """A cache in trouble is `degraded`: ready, and listed; the check is there for every cache but memory."""
    clock = FakeClock()
    cache = Troubled(clock)
    health = Health(settings_of(), cache=cache, clock=clock)
    health.add_source(FakeSource())
    for reason in (Reason.REFUSED, None):
        cache.reason = reason
        for _ in range(2):
            clock.move(2)
            report = await health.ready()
        assert report.ready
        assert report.checks["cache"].status is (CheckStatus.DEGRADED if reason else CheckStatus.OK)
        assert (report.degraded_checks == ["cache"]) is (reason is not None)
        assert (await health.ready("cache")).ready
    await health.stop()
    assert "cache" not in (await Health(settings_of(), clock=clock).ready()).checks
