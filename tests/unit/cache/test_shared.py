"""The shared cache: what of another process is believed, what is told of the rest, and what never leaves."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback

import pytest

import canary
from fakes import FakeClock, facts_of, shared_of
from loop import in_loop
from tasker_health.cache import MOST_BYTES, Held
from tasker_health.cache.memory import MemoryCache
from tasker_health.cache.sealing import CLOCK_TOLERANCE_SECONDS, Sealer
from tasker_health.cache.shared import LEASE_SECONDS, Grant
from tasker_health.errors import CacheFault
from tasker_health.model import Connections, Reason

NAME = "tasks/0123456789ab"


class FakeCache(MemoryCache):
    """A cache in memory, of which a test can take away questions, one by one.

    Attributes:
        faults: The reason of each question that fails.
        ages: By how much an age is told wrong.
    """

    name = "mine"

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.monotonic)
        self.faults: dict[str, Reason] = {}
        self.ages = 0.0

    async def get(self, key):
        """Return what lies there."""
        self._fail("get")
        held = await super().get(key)
        return held and Held(held.value, held.age_seconds + self.ages)

    async def put(self, key, value, keep_seconds):
        """Keep it."""
        self._fail("put")
        await super().put(key, value, keep_seconds)

    async def acquire(self, key, holder, seconds):
        """Return who has it."""
        self._fail("acquire")
        return await super().acquire(key, holder, seconds)

    async def release(self, key, holder):
        """Give it up."""
        self._fail("release")
        await super().release(key, holder)

    def _fail(self, question):
        if question in self.faults:
            raise CacheFault(self.faults[question], f"{question} fails")


class Fleet:
    """Two processes with one cache, and somebody else who can write to it."""

    def __init__(self, key: str | None = None) -> None:
        self.clock = FakeClock()
        self.cache = FakeCache(self.clock)
        self.one, self.another = (shared_of(self.cache, self.clock, key=key) for _ in range(2))
        self.sealer = Sealer("tasker_health", "tasker", key)

    @property
    def entry(self) -> bytes:
        """What lies there."""
        return self.cache._kept[self.sealer.key(NAME)].value

    def lay(self, value: bytes | str, seconds: float = 3600) -> None:
        """Put *value* there."""
        self.cache._keep(self.sealer.key(NAME), value, seconds)

    async def tell(self, **changes):
        """Let one process tell."""
        given = {"facts": facts_of(), "age_seconds": 0.5, "fault": None, "keep": 600, **changes}
        await self.one.tell(NAME, **given)

    async def find(self):
        """Return what the other process finds."""
        return await self.another.find(NAME)


class TestTelling:
    """What one process tells another one finds."""

    @in_loop
    async def test_it_is_found_with_its_age(self):
        """The facts, how old they are, how long ago that was told, and by whom."""
        fleet = Fleet()
        await fleet.tell(facts=facts_of(completed=7), age_seconds=2.5)
        fleet.clock.move(3)
        found = await fleet.find()
        assert (found.facts, found.fault, found.ours) == (facts_of(completed=7), None, False)
        assert (found.age_seconds, found.told_seconds) == (5.5, 3)
        assert (await fleet.one.find(NAME)).ours

    @in_loop
    async def test_the_way_from_the_cache_is_part_of_its_age(self):
        """An answer that took long is as old as the question."""
        fleet = Fleet()
        await fleet.tell()
        get = fleet.cache.get

        async def slowly(key):
            fleet.clock.move(0.2)
            return await get(key)

        fleet.cache.get = slowly
        assert (await fleet.find()).told_seconds == pytest.approx(0.4)

    @in_loop
    async def test_a_clock_of_the_cache_that_is_set_back_makes_nothing_younger_than_new(self):
        """Its age is not below 0."""
        fleet = Fleet()
        await fleet.tell(age_seconds=1.0)
        fleet.cache.ages = -50
        found = await fleet.find()
        assert (found.told_seconds, found.age_seconds) == (0, 1)

    @in_loop
    async def test_a_failure_is_told_with_the_last_facts(self):
        """Or with none."""
        fleet = Fleet()
        await fleet.tell(fault=Reason.TIMEOUT)
        assert (await fleet.find()).fault is Reason.TIMEOUT
        await fleet.tell(facts=None, fault=Reason.REFUSED)
        found = await fleet.find()
        assert (found.facts, found.fault) == (None, Reason.REFUSED)

    @pytest.mark.parametrize(
        "facts",
        [
            facts_of(groups={"x" * MOST_BYTES: {}}),
            facts_of(connections=Connections(connection_ratio=float("nan"))),
            facts_of(groups={"\ud800": {}}),
            facts_of(tasks_by_state={"a": object()}),
        ],
        ids=["too long", "no number", "no text", "no figure"],
    )
    @in_loop
    async def test_facts_that_cannot_be_told_are_told_to_nobody(self, caplog, facts):
        """Nothing is raised: the asker has them; it is trouble until some can be told again."""
        fleet = Fleet()
        for _ in range(3):
            await fleet.tell(facts=facts)
            await fleet.one.probe()
        assert await fleet.find() is None
        assert fleet.one.trouble is Reason.ERROR
        assert len(caplog.messages) == 1
        await fleet.tell()
        assert fleet.one.trouble is None

    @in_loop
    async def test_two_processes_ask_for_one_lease(self):
        """It is the entry's, and ends by itself."""
        fleet = Fleet()
        assert await fleet.one.acquire(NAME) is Grant.GRANTED
        assert await fleet.another.acquire(NAME) is Grant.TAKEN
        assert await fleet.another.acquire("else") is Grant.GRANTED
        await fleet.another.release(NAME)
        assert await fleet.another.acquire(NAME) is Grant.TAKEN
        fleet.clock.move(LEASE_SECONDS)
        assert await fleet.another.acquire(NAME) is Grant.GRANTED
        fleet.cache.faults["acquire"] = Reason.READ_ONLY
        assert await fleet.one.acquire(NAME) is Grant.UNKNOWN

    @in_loop
    async def test_a_child_is_another_holder(self):
        """What its parent holds it does not hold."""
        fleet = Fleet()
        await fleet.one.acquire(NAME)
        await fleet.tell()
        fleet.one.forget()
        assert await fleet.one.acquire(NAME) is Grant.TAKEN
        assert not (await fleet.one.find(NAME)).ours


KEY = canary.secret("signing")
FOREIGN = {
    "garbage": ("invalid", lambda _entry: b"somebody else's words"),
    "nothing": ("invalid", lambda _entry: b""),
    "truncated": ("invalid", lambda entry: entry[:-1]),
    "a lease": ("invalid", lambda _entry: "0123456789abcdef"),
    "a lease in bytes": ("invalid", lambda _entry: b"0123456789abcdef"),
    "oversized": ("oversized", lambda entry: entry + b" " * MOST_BYTES),
    "another version": ("version", lambda entry: entry.replace(b"/2 ", b"/3 ", 1)),
    "of another source": ("foreign", lambda entry: entry.replace(b"/tasks", b"/tusks", 1)),
    "of another service": ("foreign", lambda entry: entry.replace(b"/tasker/", b"/tusker/", 1)),
    "of another namespace": ("foreign", lambda entry: entry.replace(b"tasker_health/", b"tusker_health/", 1)),
    "with figures that cannot be": ("invalid", lambda entry: entry.replace(b'"pending":45', b'"pending":-1')),
    "of a time that no calendar has": ("invalid", lambda e: e.replace(b'"age_seconds":0.5', b'"age_seconds":1e300')),
    "from the future": ("clock", lambda entry: entry.replace(b'"written_at":17', b'"written_at":27')),
}


class TestBelieving:
    """What lies there and is not ours."""

    @pytest.mark.parametrize("name", FOREIGN)
    @pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
    @in_loop
    async def test_it_is_refused_counted_and_told(self, caplog, name, key):
        """Nothing is raised and nothing believed; trouble lasts until a good entry is found, and is logged once."""
        fleet = Fleet(key)
        refusal, change = FOREIGN[name]
        await fleet.tell()
        good = fleet.entry
        fleet.lay(change(good))
        for _ in range(3):
            assert await fleet.find() is None
        (counted,) = fleet.another.counts.refused_entries.items()
        is_changed_inside = refusal in {"foreign", "clock"} or name.startswith(("with figures", "of a time", "trunc"))
        assert counted == ("signature" if key and is_changed_inside else refusal, 3)
        expected = Reason.UNKNOWN_VERSION if refusal == "version" else Reason.INVALID
        assert fleet.another.trouble is expected
        await fleet.another.probe()
        await fleet.another.probe()
        assert fleet.another.trouble is expected, "other questions are answered, and that is another matter"
        assert len(caplog.messages) == 1
        assert f"cache mine: entry {NAME} ({expected})" in caplog.text
        fleet.lay(good)
        assert (await fleet.find()).facts == facts_of()
        assert fleet.another.trouble is None
        assert caplog.messages[1:] == ["cache mine: well again"]

    @in_loop
    async def test_one_without_the_key_or_with_another_is_refused(self):
        """Hand-made, unsigned, signed with another key, or of our own key under another name."""
        fleet = Fleet(KEY)
        for key in (None, "another key of ours"):
            stranger = Fleet(key)
            await stranger.tell()
            fleet.lay(stranger.entry)
            assert await fleet.find() is None
        await fleet.one.tell("else", facts_of(), 0.0, None, 60)
        fleet.lay(fleet.cache._kept[fleet.sealer.key("else")].value)
        assert await fleet.find() is None
        assert fleet.another.counts.refused_entries == {"signature": 3}

    @pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
    @in_loop
    async def test_an_old_entry_that_is_put_back_is_refused(self, key):
        """Beyond what clocks may differ; within that it is believed, as new as the cache says: see sealing.py."""
        fleet = Fleet(key)
        await fleet.tell()
        old = fleet.entry
        fleet.clock.move(CLOCK_TOLERANCE_SECONDS)
        fleet.lay(old)
        assert (await fleet.find()).age_seconds == 0.5
        fleet.clock.move(1)
        fleet.lay(old)
        assert await fleet.find() is None
        assert fleet.another.counts.refused_entries == {"clock": 1}

    @pytest.mark.parametrize("minutes", [-14, 14])
    @in_loop
    async def test_clocks_may_differ_by_minutes(self, minutes):
        """The age is by the clock of the cache: neither fresh facts look stale nor the other way round."""
        fleet = Fleet()
        await fleet.tell()
        fleet.clock.time += minutes * 60
        fleet.clock.running += 4
        assert (await fleet.find()).age_seconds == 4.5

    @in_loop
    async def test_each_source_has_trouble_of_its_own(self, caplog):
        """A good entry of one says nothing of the other's, so nothing is told again and again."""
        fleet = Fleet()
        await fleet.one.tell("good", facts_of(), 0.0, None, 60)
        fleet.lay(b"garbage")
        for _ in range(5):
            assert await fleet.find() is None
            assert await fleet.another.find("good")
        assert fleet.another.trouble is Reason.INVALID
        assert len(caplog.messages) == 1

    @in_loop
    async def test_an_entry_that_is_gone_is_no_trouble(self):
        """Nothing lies there that is not ours."""
        fleet = Fleet()
        fleet.lay(b"garbage", seconds=60)
        await fleet.find()
        fleet.clock.move(61)
        assert await fleet.find() is None
        assert fleet.another.trouble is None

    @in_loop
    async def test_where_nobody_asks_it_is_looked_at_again(self):
        """After a while, by the check: what was refused once is not told for ever."""
        fleet = Fleet()
        await fleet.tell()
        good = fleet.entry
        fleet.lay(b"garbage")
        await fleet.find()
        fleet.lay(good)
        for _ in range(9):
            fleet.clock.move(1)
            await fleet.another.probe()
            assert fleet.another.trouble is Reason.INVALID
        fleet.clock.move(1)
        await fleet.another.probe()
        assert fleet.another.trouble is None


class TestTrouble:
    """What is told of a cache that does not do what it should."""

    @in_loop
    async def test_one_that_cannot_be_written_is_still_read(self, caplog):
        """Read-only, or full: what another process has told is found, and the trouble is told until it is over."""
        for reason in (Reason.READ_ONLY, Reason.ERROR):
            caplog.clear()
            fleet = Fleet()
            await fleet.tell()
            fleet.cache.faults = dict.fromkeys(("put", "acquire", "release"), reason)
            for _ in range(5):
                fleet.clock.move(1)
                assert (await fleet.find()).facts == facts_of()
                await fleet.another.tell(NAME, facts_of(completed=1), 0.0, None, 60)
                assert await fleet.another.acquire(NAME) is Grant.UNKNOWN
                await fleet.another.release(NAME)
                await fleet.another.probe()
                assert fleet.another.trouble is reason
            assert len(caplog.messages) == 3, "put, acquire, release: once each"
            fleet.cache.faults = {}
            fleet.clock.move(1)
            await fleet.another.probe()
            assert fleet.another.trouble is None
            assert caplog.messages[3:] == ["cache mine: well again"]

    @pytest.mark.parametrize("question", ["get", "put", "acquire", "release"])
    @in_loop
    async def test_it_is_over_two_seconds_after_it_is_over(self, question):
        """Whichever question has found it away, the check, which asks once a second, finds it back."""
        fleet = Fleet()
        await fleet.tell()
        fleet.cache.faults = {question: Reason.TIMEOUT}
        await fleet.find()
        await fleet.another.tell(NAME, facts_of(), 0.0, None, 60)
        await fleet.another.acquire(NAME)
        await fleet.another.release(NAME)
        assert fleet.another.trouble is Reason.TIMEOUT
        fleet.cache.faults = {}
        for _ in range(2):
            fleet.clock.move(1)
            await fleet.another.probe()
        assert fleet.another.trouble is None

    @in_loop
    async def test_one_that_keeps_nothing_is_found_out(self, caplog):
        """Evicting, or restarted empty: `missing` until something is kept; what is changed there is `invalid`."""
        fleet = Fleet()
        await fleet.another.probe()
        await fleet.another.probe()
        assert fleet.another.trouble is None
        for _ in range(3):
            fleet.cache._kept.clear()
            await fleet.another.probe()
            assert fleet.another.trouble is Reason.MISSING
        await fleet.another.probe()
        assert fleet.another.trouble is None
        for key in list(fleet.cache._kept):
            fleet.cache._keep(key, b"something else", 60)
        await fleet.another.probe()
        assert fleet.another.trouble is Reason.INVALID
        await fleet.another.probe()
        assert fleet.another.trouble is None
        assert [message.partition(": ")[2].partition(")")[0] for message in caplog.messages] == [
            *("keep (missing", "well again"),
            *("keep (invalid", "well again"),
        ]
        assert fleet.another.counts.faults == {Reason.MISSING: 3, Reason.INVALID: 1}

    @in_loop
    async def test_two_processes_probe_side_by_side(self):
        """Neither takes the other's for its own."""
        fleet = Fleet()
        for _ in range(3):
            await asyncio.gather(fleet.one.probe(), fleet.another.probe())
        assert (fleet.one.trouble, fleet.another.trouble) == (None, None)

    @in_loop
    async def test_after_a_close_nothing_is_missed(self):
        """What a cache in memory forgets then was its own."""
        fleet = Fleet()
        await fleet.another.probe()
        await fleet.another.close()
        await fleet.another.probe()
        assert fleet.another.trouble is None


class UserCache:
    """A cache that answers any question with any of a list."""

    name = "mine"
    coarse_seconds = 0.0

    def __init__(self, answers) -> None:
        self._answers = answers
        self._chance = random.Random(6)

    async def _ask(self, *_given):
        answer = self._chance.choice(self._answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    get = put = acquire = release = close = _ask


@in_loop
async def test_nothing_is_raised_whatever_the_cache_does():
    """Rubbish, faults and errors in any order, for every question there is."""
    good = Fleet()
    await good.tell()
    answers = [
        *(None, True, "words", 7, Held(good.entry, 0.0), Held("words", 0.0), Held(good.entry, float("nan"))),
        *(Held(good.entry, -5.0), Held(good.entry, 1e300), Held(b"x", 1), object(), SystemExit(1), ValueError("no")),
        *(CacheFault(Reason.INVALID), CacheFault(Reason.READ_ONLY), CacheFault(Reason.TIMEOUT), OSError(5, "no")),
    ]
    clock = FakeClock()
    shared = shared_of(UserCache(answers), clock)
    believed = 0
    for _ in range(len(answers) * 7):
        clock.running += 1
        found = await shared.find(NAME)
        believed += found is not None
        assert found is None or found.facts == facts_of()
        assert await shared.acquire(NAME) in set(Grant)
        await shared.tell(NAME, facts_of(), 0.0, None, 60)
        await shared.release(NAME)
        await shared.probe()
        assert shared.trouble is None or shared.trouble in set(Reason)
        await shared.close()
    assert believed


@in_loop
async def test_the_signing_key_is_in_nothing_that_is_said(caplog):
    """Not in a log, an entry, a key, a repr or a traceback."""
    caplog.set_level(logging.DEBUG)
    fleet = Fleet(KEY)
    await fleet.tell()
    await fleet.find()
    for _, change in FOREIGN.values():
        fleet.lay(change(fleet.entry) if isinstance(fleet.entry, bytes) else b"")
        await fleet.find()
    await fleet.another.probe()
    try:
        fleet.sealer.open(NAME, b"garbage", age_seconds=0, now=0)
    except Exception:
        said = traceback.format_exc()
    kept = [(key, each.value) for key, each in fleet.cache._kept.items()]
    for text in (caplog.text, said, repr(fleet.another), repr(fleet.sealer), repr(kept)):
        assert KEY not in text


def test_what_was_kept_and_put_back_goes_on_ageing():
    """An attacker who puts a signed entry back makes it look new to the cache, but not to who has seen it before."""

    async def play():
        clock = FakeClock()
        cache = MemoryCache(clock.monotonic)
        teller, reader = (shared_of(cache, clock, key="a key of this test") for _ in range(2))
        await teller.tell("shop", facts_of(), 0, Reason.TIMEOUT, 100)
        key = teller._sealer.key("shop")
        kept = await cache.get(key)
        first = await reader.find("shop")
        clock.move(50)
        await cache.put(key, kept.value, 100)
        return first, await reader.find("shop"), await shared_of(cache, clock, key="a key of this test").find("shop")

    first, again, to_a_stranger = asyncio.run(play())
    assert (first.told_seconds, first.age_seconds) == (0, 0)
    assert (again.told_seconds, again.age_seconds) == (50, 50)
    assert to_a_stranger.told_seconds == 0


def test_what_is_known_again_is_bounded():
    """However many entries are told, so many are remembered."""

    async def play():
        clock = FakeClock()
        shared = shared_of(clock=clock)
        for _ in range(1100):
            await shared.tell("shop", facts_of(), 0, None, 100)
            clock.move(1)
            await shared.find("shop")
        return len(shared._told_at)

    assert asyncio.run(play()) == 1000
