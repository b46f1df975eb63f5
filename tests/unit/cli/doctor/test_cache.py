"""`doctor cache` on caches that misbehave: each fault is seen, named with its remedy, and costs bounded time."""

from __future__ import annotations

import asyncio
import time

import pytest

import canary
from fakes import facts_of, settings_of
from loop import in_loop
from tasker_health.cache import Held
from tasker_health.cache.chosen import sealer_of, shared_cache
from tasker_health.cache.memory import MemoryCache
from tasker_health.cli.doctor import cache_asking
from tasker_health.cli.doctor.cache import examined
from tasker_health.cli.doctor.cache_speed import percentile
from tasker_health.cli.doctor.findings import Verdict, tell
from tasker_health.clock import SystemClock
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.renewal import told_as
from tasker_health.sources.chosen import built_in_sources

TERM_SECONDS = 0.2
KEY = canary.secret("signing")


class Shared(MemoryCache):
    """A cache that all clients share, and that nothing is wrong with."""

    name = "redis"

    async def close(self):
        """Keep everything: it lies elsewhere."""


class Forgetful(Shared):
    """Loses what it was given."""

    async def put(self, key, value, keep_seconds):
        """Do nothing."""


class Altering(Shared):
    """Gives back other bytes."""

    async def get(self, key):
        """Return what is there, with something more."""
        held = await super().get(key)
        return held and Held(held.value + b"x", held.age_seconds)


class Aged(Shared):
    """Tells ages of another clock."""

    async def get(self, key):
        """Return what is there, an hour older."""
        held = await super().get(key)
        return held and Held(held.value, held.age_seconds + 3600)


class Young(Shared):
    """Tells that everything is new."""

    async def get(self, key):
        """Return what is there, as if it were put now."""
        held = await super().get(key)
        return held and Held(held.value, 0.0)


class Generous(Shared):
    """Grants a lease to everybody."""

    async def acquire(self, key, holder, seconds):
        """Say yes."""
        return True


class Mean(Shared):
    """Grants a lease to nobody."""

    async def acquire(self, key, holder, seconds):
        """Say no."""
        return False


class Clinging(Shared):
    """Does not let a lease be given up."""

    async def release(self, key, holder):
        """Do nothing."""


class Hasty(Shared):
    """Ends what it was given long before the time."""

    async def acquire(self, key, holder, seconds):
        """Grant for a tenth of the time."""
        return await super().acquire(key, holder, seconds / 10)

    async def put(self, key, value, keep_seconds):
        """Keep for a tenth of the time."""
        await super().put(key, value, keep_seconds / 10)


class Eternal(Shared):
    """Ends nothing by itself."""

    async def acquire(self, key, holder, seconds):
        """Grant for ever."""
        return await super().acquire(key, holder, 1e9)

    async def put(self, key, value, keep_seconds):
        """Keep for ever."""
        await super().put(key, value, 1e9)


class Small(Shared):
    """Takes no large entries."""

    async def put(self, key, value, keep_seconds):
        """Refuse what is large."""
        if len(value) > 100_000:
            raise CacheFault(Reason.ERROR, "object too large for cache")
        await super().put(key, value, keep_seconds)


class Slow(Shared):
    """Answers late, or not at all."""

    def __init__(self, *, delay_seconds, after=0):
        super().__init__()
        self.asked = 0
        self._delay_seconds = delay_seconds
        self._after = after

    async def get(self, key):
        """Answer when its time has come."""
        await self._wait()
        return await super().get(key)

    async def put(self, key, value, keep_seconds):
        """Take it when its time has come."""
        await self._wait()
        await super().put(key, value, keep_seconds)

    async def _wait(self):
        self.asked += 1
        if self.asked > self._after:
            await asyncio.sleep(self._delay_seconds)


def shared_settings(**groups):
    """Return settings of a shared cache, as they should be."""
    cache = {"url": "redis://127.0.0.1", "signing_key": KEY, **groups.pop("cache", {})}
    return settings_of(cache=cache, **groups)


async def found_of(cache, settings=None):
    """Return what is found of *cache*, by what was looked at."""
    findings = await examined(settings or shared_settings(), lambda: cache, term_seconds=TERM_SECONDS)
    return {finding.what: finding for finding in findings}


def to_change(found):
    """Return the names of what asks for a change; each says what to do."""
    asking = {what for what, finding in found.items() if finding.verdict is Verdict.WARNING}
    assert all(found[what].remedy for what in asking)
    return asking


@in_loop
async def test_nothing_is_wrong_with_a_good_cache():
    """Everything is measured, with figures, and nothing is to be changed."""
    found = await found_of(Shared())
    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert list(found) == [
        *("kind", "signature", "transport", "time to live"),
        *("connect", "write", "read back", "largest", "age", "lease", "expiry"),
    ]
    for what, figure in {"connect": "median_ms", "write": "p99_ms", "read back": "p50_ms", "largest": "bytes"}.items():
        assert found[what].figures[figure] > 0
    assert TERM_SECONDS <= found["age"].figures["true_seconds"] < 30
    assert TERM_SECONDS - 0.1 <= found["lease"].figures["ran_out_seconds"] < 30


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        pytest.param(kind, wrong, id=kind.__name__)
        for kind, wrong in {
            Forgetful: {"read back", "largest", "age", "expiry"},
            Altering: {"read back", "largest"},
            Aged: {"age"},
            Young: {"age"},
            Generous: {"lease"},
            Mean: {"lease"},
            Clinging: {"lease"},
            Hasty: {"lease", "expiry"},
            Eternal: {"lease", "expiry"},
            Small: {"largest"},
        }.items()
    ],
)
@in_loop
async def test_what_misbehaves_is_named(kind, wrong):
    """And nothing else is."""
    assert to_change(await found_of(kind())) == wrong


@in_loop
async def test_memory_is_said_to_be_of_one_process():
    """It is no fault; its own clients are not expected to share."""
    findings = await examined(settings_of(), MemoryCache, term_seconds=TERM_SECONDS)
    assert not [finding for finding in findings if finding.verdict is Verdict.WARNING]
    assert "each process keeps its own" in findings[0].measured
    assert "signature" not in {finding.what for finding in findings}


class TestTime:
    """Slow and hung caches, in bounded time."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch):
        """Wait less, so that the tests do."""
        monkeypatch.setattr(cache_asking, "PATIENCE_SECONDS", 0.3)
        monkeypatch.setattr(cache_asking, "MOST_SECONDS", 2.0)

    @in_loop
    async def test_a_hung_cache_cannot_be_asked(self):
        """The first question says so, within its deadline, and no other one is asked."""
        cache, began = Slow(delay_seconds=3600), time.monotonic()
        with pytest.raises(CacheFault) as raised:
            await found_of(cache)
        assert raised.value.reason is Reason.TIMEOUT
        assert (cache.asked, time.monotonic() - began < 10) == (1, True)

    @in_loop
    async def test_a_cache_that_hangs_meanwhile_is_not_asked_on_and_on(self):
        """What was measured until then is told, and that the rest was not."""
        cache = Slow(delay_seconds=3600, after=20)
        found = await found_of(cache)
        assert (cache.asked, to_change(found)) == (21, {"write"})
        assert found["write"].measured.startswith("timeout: ")
        assert found["the rest"].verdict is Verdict.UNKNOWN
        assert "age" not in found

    @in_loop
    async def test_a_slow_one_says_which_timeout_it_needs(self, monkeypatch):
        """An answer that takes more than half of `cache.timeout_seconds` is too near to it."""
        monkeypatch.setattr(cache_asking, "MOST_SECONDS", 60.0)
        found = await found_of(Slow(delay_seconds=0.01), shared_settings(cache={"timeout_seconds": 0.015}))
        assert to_change(found) == {"connect", "write", "read back"}
        assert "cache.timeout_seconds = 0." in found["write"].remedy
        assert found["write"].figures["p99_ms"] >= 10
        found = await found_of(Slow(delay_seconds=0.01), shared_settings(cache={"timeout_seconds": 5}))
        assert not to_change(found)

    @in_loop
    async def test_a_very_slow_one_takes_no_longer_than_all_may(self):
        """Each answer comes in time, but there are too many of them."""
        began = time.monotonic()
        found = await found_of(Slow(delay_seconds=0.25))
        assert time.monotonic() - began < 20
        assert any("the time for measuring is over" in finding.measured for finding in found.values())


@pytest.mark.parametrize(
    ("cache", "health", "wrong"),
    [
        ({}, {}, set()),
        ({"signing_key": None}, {}, {"signature"}),
        ({"url": "redis://cache.internal:6379/0"}, {}, {"transport"}),
        ({"url": "redis://:word@10.0.0.1:6379/0"}, {}, {"transport"}),
        ({"url": "valkey+sentinel://127.0.0.1:1,10.0.0.2:1/main"}, {}, {"transport"}),
        ({"url": "rediss://cache.internal:6379/0"}, {}, set()),
        ({"url": "valkeys+sentinel://a:1,b:1/main"}, {}, set()),
        ({"url": "redis://localhost"}, {}, set()),
        ({"url": "redis://:p%40ss@[::1]:6379"}, {}, set()),
        ({"url": "memcached://cache.internal"}, {}, set()),
        ({}, {"cache_duration_seconds": 0}, {"time to live"}),
        ({}, {"cache_duration_seconds": 1}, set()),
    ],
)
@in_loop
async def test_what_the_settings_mean(cache, health, wrong):
    """Signed or not, readable on the way or not, whatever the cache itself does."""
    assert to_change(await found_of(Shared(), shared_settings(cache=cache, health=health))) == wrong


@pytest.mark.parametrize(("seconds", "wrong"), [(14.9, {"time to live"}), (15, set()), (0, {"time to live"})])
@in_loop
async def test_a_coarse_clock_needs_a_longer_time_to_live(seconds, wrong):
    """Ages that are rounded up by seconds make short-lived entries old before they are read."""
    cache = Shared()
    cache.coarse_seconds = 3.0
    found = await found_of(cache, shared_settings(health={"cache_duration_seconds": seconds}))
    assert to_change(found) == wrong


class TestEntries:
    """What lies under our own keys."""

    SETTINGS = shared_settings(sources={"shop": {"kind": "dbos", "url": "sqlite:///nowhere.sqlite"}})

    def _name(self):
        return told_as(built_in_sources(self.SETTINGS)[0])

    @in_loop
    async def test_nothing_is_well(self):
        """As after a start."""
        found = await found_of(Shared(), self.SETTINGS)
        assert (found["entry of shop"].verdict, found["entry of shop"].measured[:4]) == (Verdict.OK, "none")

    @in_loop
    async def test_facts_that_were_told_are_seen_and_left_alone(self):
        """With their age; nothing of ours is in the cache afterwards but what ends by itself."""
        cache = Shared()
        shared = shared_cache(self.SETTINGS, cache, SystemClock())
        await shared.tell(self._name(), facts_of(), 3.0, None, 60)
        before = await cache.get(sealer_of(self.SETTINGS).key(self._name()))
        found = (await found_of(cache, self.SETTINGS))["entry of shop"]
        assert (found.verdict, "read 3." in found.measured) == (Verdict.OK, True)
        after = await cache.get(sealer_of(self.SETTINGS).key(self._name()))
        assert after.value == before.value
        assert after.age_seconds > before.age_seconds
        assert all(key == sealer_of(self.SETTINGS).key(self._name()) or ":doctor:" in key for key in cache._kept)

    @in_loop
    async def test_a_failed_reading_that_was_told_is_noted(self):
        """It is the source's trouble, not the cache's."""
        cache = Shared()
        shared = shared_cache(self.SETTINGS, cache, SystemClock())
        await shared.tell(self._name(), None, 0.0, Reason.REFUSED, 60)
        found = (await found_of(cache, self.SETTINGS))["entry of shop"]
        assert (found.verdict, "refused" in found.measured) == (Verdict.NOTE, True)

    @pytest.mark.parametrize(
        ("value", "refusal"),
        [
            (b"somebody else's", "invalid"),
            (b"tasker-health/9 -\n{}", "version"),
            (b"tasker-health/2 -\n{}", "signature"),
            (b"x" * 600_000, "oversized"),
        ],
    )
    @in_loop
    async def test_what_is_not_ours_is_named_and_left_there(self, value, refusal):
        """With why it is not believed, and what to do."""
        cache, key = Shared(), sealer_of(self.SETTINGS).key(self._name())
        await cache.put(key, value, 60)
        found = await found_of(cache, self.SETTINGS)
        assert to_change(found) == {"entry of shop"}
        assert f"({refusal})" in found["entry of shop"].measured
        assert cache._kept[key].value == value


def test_the_table_shows_everything_and_the_code_tells(capsys):
    """What looks like markup is text; 1 when something is to be changed, else 0."""
    findings = asyncio.run(examined(shared_settings(), Generous, term_seconds=TERM_SECONDS))
    assert tell(findings, as_json=False) == 1
    shown = capsys.readouterr().out
    assert all(finding.what in shown for finding in findings)
    well = [finding for finding in findings if finding.verdict is Verdict.OK]
    assert tell(well, as_json=True) == 0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 25), (0.99, 50), (1.0, 50), (0.01, 1)])
def test_percentiles_are_values_that_were_measured(share, expected):
    """The nearest rank."""
    assert percentile(list(range(50, 0, -1)), share) == expected
