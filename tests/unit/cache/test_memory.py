"""The cache in memory: bounded, and nobody's but this process's. What every cache does is in tests/contract."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from loop import in_loop
from tasker_health.cache import MOST_BYTES
from tasker_health.cache.memory import _MOST_KEYS, MemoryCache
from tasker_health.errors import CacheFault
from tasker_health.model import Reason


@in_loop
async def test_it_keeps_so_many_keys_and_no_more():
    """Entries and leases together; the oldest goes first, and what is put again is new."""
    clock = FakeClock()
    cache = MemoryCache(clock.monotonic)
    for number in range(_MOST_KEYS):
        await cache.put(f"key{number}", b"x", 60)
    await cache.put("key0", b"again", 60)
    for number in range(10):
        assert await cache.acquire(f"lease{number}", "me", 60)
    assert len(cache._kept) == _MOST_KEYS
    assert (await cache.get("key0")).value == b"again"
    gone = [number for number in range(_MOST_KEYS) if await cache.get(f"key{number}") is None]
    assert gone == list(range(1, 11))


@in_loop
async def test_what_has_outlived_its_time_is_let_go():
    """When it is looked for."""
    clock = FakeClock()
    cache = MemoryCache(clock.monotonic)
    await cache.put("key", b"x", 5)
    clock.move(4.999)
    assert (await cache.get("key")).age_seconds == pytest.approx(4.999)
    clock.move(0.001)
    assert await cache.get("key") is None
    assert cache._kept == {}


@in_loop
async def test_an_entry_and_a_lease_are_not_confused():
    """Nor can one take the other's place unseen."""
    cache = MemoryCache()
    await cache.acquire("key", "me", 60)
    with pytest.raises(CacheFault) as raised:
        await cache.get("key")
    assert raised.value.reason is Reason.INVALID
    await cache.put("key", b"me", 60)
    assert not await cache.acquire("key", "me", 60)
    await cache.release("key", "me")
    assert (await cache.get("key")).value == b"me"


@in_loop
async def test_no_more_than_an_entry_leaves():
    """And one byte, by which it is seen that it is too long."""
    cache = MemoryCache()
    await cache.put("key", b"x" * MOST_BYTES * 2, 60)
    assert len((await cache.get("key")).value) == MOST_BYTES + 1


@in_loop
async def test_a_close_forgets_everything():
    """As the end of the process does."""
    cache = MemoryCache()
    await cache.put("key", b"x", 60)
    await cache.close()
    assert await cache.get("key") is None
