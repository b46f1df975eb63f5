"""Signed entries that somebody has kept and puts back: worth nothing to who has seen them, however they are shown."""

from __future__ import annotations

import pytest

import canary
from fakes import FakeClock, FakeSource, facts_of, settings_of
from loop import in_loop
from tasker_health import Health
from tasker_health.cache import Held
from tasker_health.cache.memory import MemoryCache
from tasker_health.model import Reason

KEY = canary.secret("signing")
PLACE = "tasker_health:2:tasker:shop"
DURATION_SECONDS = 15


class Shown(MemoryCache):
    """A cache in memory, whose next answers somebody else decides: `None` leaves it to itself."""

    name = "mine"

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.monotonic)
        self.shows: list[bytes | Held | None] = []

    async def get(self, key):
        """Return what is to be shown."""
        shown = self.shows.pop(0) if self.shows and key == PLACE else None
        if shown is None:
            return await super().get(key)
        return shown if isinstance(shown, Held) else Held(shown, 0.0)


class Scene:
    """Two processes, the cache between them, and what one has told the other."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = Shown(self.clock)
        self.sources = [FakeSource(), FakeSource()]
        self.one, self.another = map(self._process, self.sources)

    def _process(self, source: FakeSource) -> Health:
        settings = settings_of(cache={"signing_key": KEY}, health={"cache_duration_seconds": DURATION_SECONDS})
        health = Health(settings, cache=self.cache, clock=self.clock)
        health.add_source(source)
        return health

    async def entry(self) -> bytes:
        """Return what lies in the cache."""
        return (await self.cache.get(PLACE)).value


GARBAGE = b"garbage"


@pytest.mark.parametrize("before", [[], [GARBAGE], [GARBAGE, GARBAGE]], ids=["always", "between looks", "later"])
@in_loop
async def test_old_facts_that_are_put_back_are_read_anew(before):
    """Also when something else was there a moment ago, so that they seem to have been told just now."""
    scene = Scene()
    scene.sources[0].facts = facts_of(completed=1)
    await scene.one.status()
    old = await scene.entry()
    assert (await scene.another.status()).system_health.completed_tasks == 1
    assert scene.sources[1].reads == 0
    scene.clock.move(300)
    scene.sources[1].facts = facts_of(completed=2)
    scene.cache.shows = [*before, *[old] * 50]
    report = await scene.another.status()
    assert (report.system_health.completed_tasks, scene.sources[1].reads) == (2, 1)


@pytest.mark.parametrize("before", [[], [GARBAGE]], ids=["always", "between looks"])
@in_loop
async def test_an_old_failure_that_is_put_back_keeps_nobody_from_reading(before):
    """It was told long ago."""
    scene = Scene()
    scene.sources[0].fault = Reason.REFUSED
    await scene.one.status()
    old = await scene.entry()
    assert (await scene.another.status()).sources["shop"].reason is Reason.REFUSED
    assert scene.sources[1].reads == 0
    scene.clock.move(300)
    scene.cache.shows = [*before, *[old] * 50]
    report = await scene.another.status()
    assert not report.reasons
    assert scene.sources[1].reads == 1


@in_loop
async def test_old_facts_that_come_back_with_their_cache_are_as_old_as_it_says():
    """A file of SQLite, or a server, that was replaced and is put back: nobody has seen its last entry but its teller.

    It was not there a moment ago, and yet nobody has told it since.
    """
    scene = Scene()
    scene.sources[0].facts = facts_of(completed=1)
    await scene.one.status()
    old = await scene.cache.get(PLACE)
    scene.clock.move(300)
    scene.sources[1].facts = facts_of(completed=2)
    scene.cache.shows = [Held(GARBAGE, 0.0), *[old._replace(age_seconds=300.0)] * 50]
    report = await scene.another.status()
    assert (report.system_health.completed_tasks, scene.sources[1].reads) == (2, 1)


@in_loop
async def test_who_has_told_it_knows_it_too():
    """Without having looked for it since."""
    scene = Scene()
    await scene.one.status()
    old = await scene.entry()
    scene.clock.move(300)
    scene.sources[0].facts = facts_of(completed=2)
    scene.cache.shows = [old] * 50
    assert (await scene.one.status()).system_health.completed_tasks == 2
