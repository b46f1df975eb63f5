"""How often everything is counted when something asks for it again and again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from fakes import FakeClock, facts_of
from tasker_health.sources import tallied
from tasker_health.sources.reader import Counted, Reading
from tasker_health.sources.tallied import TalliedSource

STATE = object()


class Replaced:
    """A reader whose tables are replaced before each poll, and a full count of which takes *count_seconds*."""

    def __init__(self, clock: FakeClock, count_seconds: float) -> None:
        self.counts = 0
        self._clock = clock
        self._count_seconds = count_seconds

    def poll(self, _connection, _state, _seconds):
        """Say that the tally is wrong."""
        return Reading(facts_of(), replaced=True, suspicious=False)

    def count(self, _connection, _seconds):
        """Take a while."""
        self.counts += 1
        self._clock.move(self._count_seconds)
        return Counted(facts_of(), STATE)


class Asked:
    """A database that asks at once."""

    async def run(self, work, *, deadline_seconds):
        """Return what *work* answers without a connection."""
        return work(None)


@pytest.mark.parametrize(
    ("count_seconds", "most_share", "oldest_seconds"),
    [(0.1, 0.05, 3), (1, 0.06, 22), (3, 0.11, 33), (20, 0.52, 60)],
)
def test_tables_replaced_again_and_again_are_counted_as_often_as_their_age_is_worth(
    monkeypatch, count_seconds, most_share, oldest_seconds
):
    """A twentieth of the time at most; but facts of half a minute are worth up to half of it."""
    clock = FakeClock()
    monkeypatch.setattr(tallied, "time", SimpleNamespace(monotonic=clock.monotonic))
    reader = Replaced(clock, count_seconds)
    source = TalliedSource("shop", Asked(), Asked(), reader, full_count_timeout_seconds=60)

    async def play() -> list[float]:
        ages = []
        while clock.running < 1100:
            ages.append((await source.read(5)).age_seconds)
            await asyncio.sleep(0)
            clock.move(1)
        return ages

    ages = asyncio.run(play())
    assert reader.counts * count_seconds <= 1000 * most_share
    assert max(ages) <= oldest_seconds
