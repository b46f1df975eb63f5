"""The fake clock: it stands still, and what is measured follows it."""

from __future__ import annotations

import asyncio

from tasker_health import Health
from tasker_health.testing import FakeClock, FixedSource, settings_of


def test_it_moves_when_told():
    """Both of its times, and alone where the test sets one."""
    clock = FakeClock(1000.0)
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic()) == (1000.0, 100.0)
    clock.move(2.5)
    assert (clock.now(), clock.monotonic()) == (1002.5, 102.5)
    clock.time -= 500
    assert (clock.now(), clock.monotonic()) == (502.5, 102.5)


def test_ages_and_timestamps_are_the_clocks():
    """A status is kept until the clock has moved by the duration of the cache."""
    clock, source = FakeClock(), FixedSource()
    health = Health(settings_of(), clock=clock)
    health.add_source(source)

    async def ask():
        first = await health.status()
        clock.move(5)
        second = await health.status()
        clock.move(11)
        await health.status()
        await health.stop()
        return first, second

    first, second = asyncio.run(ask())
    assert (first.cache_info.cached, first.timestamp.timestamp()) == (False, 1_750_260_600.0)
    assert (second.cache_info.cached, second.cache_info.age_seconds) == (True, 5)
    assert source.reads >= 2
