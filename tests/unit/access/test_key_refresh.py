"""Keys that change: one reader, never too often, and the old ones serve meanwhile."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fakes import FakeClock
from tasker_health.access.jwks import Key, KeySet
from tasker_health.access.key_refresh import KeysFault, RefreshedKeys

MAX_AGE_SECONDS, COOLDOWN_SECONDS, KEPT_SECONDS = 600, 30, 86_400


def set_of(*names):
    """Return a set with keys of these names."""
    return KeySet([Key(name, frozenset({"RS256"}), name) for name in names], repr(names).encode())


class Place:
    """Where keys come from: answers what the test sets, once the gate is open."""

    def __init__(self):
        self.loads = 0
        self.answer = set_of("a")
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self):
        """Return the keys, or raise."""
        self.loads += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def place():
    """Where keys come from."""
    return Place()


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def refreshed(place, clock):
    """Keys from that place, by that clock."""
    return RefreshedKeys(
        place.load,
        "the place",
        max_age_seconds=MAX_AGE_SECONDS,
        cooldown_seconds=COOLDOWN_SECONDS,
        timeout_seconds=60,
        kept_seconds=KEPT_SECONDS,
        clock=clock,
    )


async def settled(refreshed):
    """Wait for a reading that was begun in the background."""
    await asyncio.wait({refreshed._task})


def test_the_first_asker_waits_and_the_next_do_not(refreshed, place):
    """Nothing is read before it is asked for; then it is there at once."""

    async def run():
        assert refreshed.current() is None
        keys = await refreshed.wait()
        assert refreshed.current() is keys
        assert await refreshed.wait() is keys

    asyncio.run(run())
    assert place.loads == 1


def test_many_askers_share_one_reading(refreshed, place):
    """And one of them who leaves does not end it for the others."""

    async def run():
        place.gate.clear()
        askers = [asyncio.ensure_future(refreshed.wait()) for _ in range(100)]
        await asyncio.sleep(0)
        askers[0].cancel()
        await asyncio.sleep(0)
        place.gate.set()
        answers = await asyncio.gather(*askers, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert len({id(each) for each in answers[1:]}) == 1
        assert answers[1].knows("a")

    asyncio.run(run())
    assert place.loads == 1


@pytest.mark.parametrize("answer", [set_of("a"), ValueError("broken")])
def test_no_caller_makes_it_read_within_the_cooldown(answer, refreshed, place, clock):
    """However many ask for more, and whatever came of the last reading."""
    place.answer = answer

    async def ask():
        try:
            await refreshed.wait()
        except KeysFault:
            return

    async def run():
        for _ in range(1000):
            await ask()
        assert place.loads == 1
        clock.move(COOLDOWN_SECONDS)
        for _ in range(1000):
            await ask()
        assert place.loads == 2

    asyncio.run(run())


def test_the_cooldown_begins_when_a_reading_ends(refreshed, place, clock):
    """A place that takes long to answer is not asked again at once."""

    async def run():
        place.gate.clear()
        asker = asyncio.ensure_future(refreshed.wait())
        await asyncio.sleep(0)
        clock.move(COOLDOWN_SECONDS * 2)
        place.gate.set()
        await asker
        await refreshed.wait()

    asyncio.run(run())
    assert place.loads == 1


def test_old_keys_serve_while_they_are_read_again(refreshed, place, clock):
    """Nobody waits for the refresh, and the new keys are there after it."""

    async def run():
        old = await refreshed.wait()
        clock.move(MAX_AGE_SECONDS + 1)
        place.gate.clear()
        place.answer = set_of("b")
        assert [refreshed.current() for _ in range(3)] == [old] * 3
        place.gate.set()
        await settled(refreshed)
        assert refreshed.current().knows("b")
        assert not refreshed.current().knows("a")

    asyncio.run(run())
    assert place.loads == 2


def test_who_comes_after_a_long_silence_waits_for_newer_keys(refreshed, place, clock):
    """A key that was withdrawn meanwhile would pass once more otherwise; while that is read, others do not wait."""

    async def run():
        old = await refreshed.wait()
        clock.move(2 * MAX_AGE_SECONDS + 1)
        place.answer = set_of("b")
        assert refreshed.current() is None
        place.gate.clear()
        asker = asyncio.ensure_future(refreshed.wait())
        await asyncio.sleep(0)
        assert refreshed.current() is old
        place.gate.set()
        assert (await asker).knows("b")

    asyncio.run(run())


def test_keys_that_nobody_confirms_serve_for_a_day_and_no_longer(refreshed, place, clock):
    """An issuer that is away locks nobody out at once; a key that may be withdrawn does not live for ever."""

    async def run():
        old = await refreshed.wait()
        place.answer = OSError("away")
        clock.move(KEPT_SECONDS - 1)
        assert await refreshed.wait() is old
        assert refreshed.current() is old
        clock.move(2)
        assert refreshed.current() is None
        with pytest.raises(KeysFault, match="away"):
            await refreshed.wait()
        clock.move(COOLDOWN_SECONDS)
        place.answer = set_of("b")
        assert (await refreshed.wait()).knows("b")

    asyncio.run(run())


def test_without_keys_the_fault_is_told_and_mended(refreshed, place, clock):
    """Not the caller's: it says from where and why, for the log; the next reading makes it good."""

    async def run():
        for answer in (ValueError("is HTML"), set_of()):
            place.answer = answer
            with pytest.raises(KeysFault, match=r"from the place: .*(is HTML|auth\.jwt\.algorithms)"):
                await refreshed.wait()
            clock.move(COOLDOWN_SECONDS)
        place.answer = set_of("a")
        assert (await refreshed.wait()).knows("a")

    asyncio.run(run())


def test_a_reading_that_hangs_costs_a_bounded_wait(place, clock):
    """The asker is told in less time than authentication may take; who has keys is not held up."""
    refreshed = RefreshedKeys(
        place.load, "the place", max_age_seconds=1, cooldown_seconds=1, timeout_seconds=0.1, clock=clock
    )

    async def run():
        place.gate.clear()
        with pytest.raises(KeysFault, match="not read yet"):
            await asyncio.wait_for(refreshed.wait(), 30)
        place.gate.set()
        keys = await refreshed.wait()
        place.gate.clear()
        clock.move(5)
        assert await refreshed.wait() is keys
        assert refreshed.current() is keys
        place.gate.set()
        await settled(refreshed)

    asyncio.run(run())
    assert place.loads == 2


def test_an_issuer_that_withdraws_every_key_is_believed(refreshed, place, clock):
    """A set that is well-formed and empty is its word: every token is refused then, by 401 and not by 500."""

    async def run():
        await refreshed.wait()
        place.answer = set_of()
        clock.move(COOLDOWN_SECONDS)
        keys = await refreshed.wait()
        assert not keys.knows("a")

    asyncio.run(run())


def test_the_same_keys_stay_the_same_object(refreshed, place, clock):
    """So that what was verified with them need not be verified again."""

    async def run():
        first = await refreshed.wait()
        place.answer = set_of("a")
        clock.move(COOLDOWN_SECONDS)
        assert await refreshed.wait() is first
        place.answer = set_of("a", "b")
        clock.move(COOLDOWN_SECONDS)
        assert await refreshed.wait() is not first

    asyncio.run(run())
    assert place.loads == 3


def test_a_fault_is_logged_once(refreshed, place, clock, caplog):
    """An hour of the same fault is one line, another fault another one."""

    async def run():
        await refreshed.wait()
        for fault in ("away", "away", "away", "is HTML"):
            place.answer = ValueError(fault)
            clock.move(COOLDOWN_SECONDS)
            await refreshed.wait()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["away", "HTML"]


def test_another_loop_does_not_wait_for_what_the_first_has_left_behind(refreshed, place):
    """A reading on an event loop that runs no more never ends; another loop reads for itself."""

    async def leave():
        refreshed._begin()
        await asyncio.sleep(0)

    place.gate.clear()
    first = asyncio.new_event_loop()
    first.run_until_complete(leave())
    left = refreshed._task
    place.gate = asyncio.Event()
    place.gate.set()
    assert asyncio.run(asyncio.wait_for(refreshed.wait(), 5)).knows("a")
    left.cancel()
    first.run_until_complete(asyncio.wait({left}))
    first.close()
