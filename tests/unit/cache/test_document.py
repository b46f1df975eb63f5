"""Documents in the shared cache: what is written is read, and nothing else is believed."""

from __future__ import annotations

import pytest
from msgspec import Struct

import canary
from fakes import FakeClock, shared_of
from loop import in_loop
from tasker_health.cache import MOST_BYTES
from tasker_health.cache.memory import MemoryCache
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

KEY = canary.secret("signing")


class Form(Struct, forbid_unknown_fields=True):
    """A document."""

    number: int


class Other(Struct):
    """One of another form."""

    word: str


def believe(_document):
    """Believe everything."""
    return True


class Scene:
    """Documents of processes that share one cache."""

    def __init__(self):
        self.clock = FakeClock()
        self.cache = MemoryCache(self.clock.monotonic)

    def shared(self, **options):
        """Return the way of one more process."""
        return shared_of(self.cache, self.clock, **{"key": KEY, **options})


@in_loop
async def test_what_one_process_writes_another_reads_with_its_age():
    """And nothing is there before."""
    scene = Scene()
    one, two = scene.shared().document("d", Form), scene.shared().document("d", Form)
    assert await two.load(believe) == (None, 0.0, 0.0, True)
    assert await one.save(Form(7), 60)
    scene.clock.move(5)
    assert await two.load(believe) == (Form(7), 5.0, 5.0, True)
    scene.clock.move(60)
    assert (await two.load(believe)).document is None


@in_loop
async def test_a_coarse_clock_says_how_old_it_is_at_least():
    """An age of ten seconds may be one of seven."""
    scene = Scene()
    scene.cache.coarse_seconds = 3.0
    document = scene.shared().document("d", Form)
    await document.save(Form(7), 60)
    scene.clock.move(10)
    assert (await document.load(believe))[1:3] == (10.0, 7.0)


@pytest.mark.parametrize(
    ("stranger", "name", "value"),
    [
        ({"key": canary.secret("other")}, "d", Form(1)),
        ({"key": None}, "d", Form(1)),
        ({}, "d", Other("x")),
        ({}, "d", Form(-1)),
    ],
)
@in_loop
async def test_what_is_not_ours_is_not_believed(stranger, name, value):
    """Signed with another key or none, of another form, or saying what cannot be: counted, and told by the check."""
    scene = Scene()
    shared = scene.shared()
    await scene.shared(**stranger).document(name, type(value)).save(value, 60)
    document = shared.document("d", Form)
    assert await document.load(lambda found: found.number >= 0) == (None, 0.0, 0.0, True)
    assert shared.counts.refused_entries.total() == 1
    assert shared.trouble is Reason.INVALID
    assert await document.save(Form(1), 60)
    assert shared.trouble is None


@in_loop
async def test_an_entry_is_worth_nothing_under_another_key():
    """Neither as another document nor as that of another service."""
    scene = Scene()
    await scene.shared().document("d", Form).save(Form(1), 60)
    (entry,) = scene.cache._kept.values()
    for options, name in (({}, "e"), ({"service": "other"}, "d")):
        await scene.shared(**options).document(name, Form).save(Form(2), 60)
        key = next(reversed(scene.cache._kept))
        await scene.cache.put(key, entry.value, 60)
        assert (await scene.shared(**options).document(name, Form).load(believe)).document is None


@in_loop
async def test_without_an_answer_nothing_is_known():
    """That is another thing than nothing being there."""

    class Away(MemoryCache):
        async def get(self, key):
            raise CacheFault(Reason.REFUSED, "away")

    document = shared_of(Away()).document("d", Form)
    assert not (await document.load(believe)).is_answered


@in_loop
async def test_what_is_too_large_is_not_written():
    """And the check of the cache says so."""
    shared = Scene().shared()
    assert not await shared.document("d", Other).save(Other("x" * MOST_BYTES), 60)
    assert shared.trouble is Reason.ERROR


@in_loop
async def test_a_lease_is_one_process_only():
    """Until it is let go or ends; a forked process is another holder, and two documents have leases of their own."""
    scene = Scene()
    one, two = scene.shared().document("d", Form), scene.shared().document("d", Form)
    assert await one.acquire("turn", 5)
    assert await one.acquire("turn", 5)
    assert await two.acquire("turn", 5) is False
    assert await two.acquire("other", 5)
    assert await scene.shared().document("e", Form).acquire("turn", 5)
    await two.release("turn")
    assert await two.acquire("turn", 5) is False
    one.forget()
    assert await one.acquire("turn", 5) is False
    scene.clock.move(5)
    assert await two.acquire("turn", 5)
