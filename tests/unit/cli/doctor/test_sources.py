"""The doctor's measure of a source: a busy moment is not how long it takes."""

from __future__ import annotations

import asyncio

from tasker_health.cli.doctor import sources


class Clock:
    """Stands for `time`; each reading of a source moves it."""

    now = 0.0

    def perf_counter(self):
        """Return the time."""
        return self.now


class Source:
    """Takes as long as it is told, by the clock."""

    def __init__(self, clock, *took):
        self.clock, self.took = clock, list(took)

    async def read(self, _seconds):
        """Let the time pass that the next reading takes."""
        self.clock.now += self.took.pop(0)


def test_one_busy_moment_is_not_what_a_reading_takes(monkeypatch):
    """The quickest of three counts."""
    monkeypatch.setattr(sources, "time", clock := Clock())
    _, milliseconds = asyncio.run(sources._read_again(Source(clock, 0.137, 0.02, 0.03), 5))
    assert round(milliseconds) == 20


def test_a_source_that_is_slow_is_not_read_three_times(monkeypatch):
    """After a second it is known."""
    monkeypatch.setattr(sources, "time", clock := Clock())
    source = Source(clock, 4.0, 4.0, 4.0)
    _, milliseconds = asyncio.run(sources._read_again(source, 5))
    assert (round(milliseconds), len(source.took)) == (4000, 2)
