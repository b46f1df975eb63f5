"""What Memcached itself does to a cache: it forgets, is full, is too small, was stopped, counts in whole seconds."""

from __future__ import annotations

import asyncio
import math
import socket
import time

import pytest

from caches import MemcachedServer
from loop import in_loop
from server import wait_until
from tasker_health.cache import MOST_BYTES
from tasker_health.cache.memcached import memcached_cache
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

PATIENCE_SECONDS = 30


@pytest.fixture
def server(request):
    """A Memcached that is started with the words of the test's parameter."""
    made = MemcachedServer(*getattr(request, "param", ()))
    yield made
    made.end()


def client(server: MemcachedServer, timeout_seconds: float = PATIENCE_SECONDS):
    """Return a new client of *server*."""
    return memcached_cache(server.url, timeout_seconds=timeout_seconds)


async def fault_of(question) -> CacheFault:
    """Return the fault of *question*."""
    with pytest.raises(CacheFault) as raised:
        await question
    return raised.value


class TestTrouble:
    """Each costs what it must, and says what to do."""

    @pytest.mark.parametrize("server", [("-M", "-m", "2")], indirect=True)
    @in_loop
    async def test_a_full_server_that_may_not_evict_refuses(self, server):
        """With a fault; what fits is kept, and what it holds is still read."""
        cache = client(server)
        await cache.put("first", b"x" * 1000, 60)

        async def fill():
            for number in range(100):
                await cache.put(f"entry{number}", b"x" * 100_000, 60)

        fault = await fault_of(fill())
        assert (fault.reason, "without -M" in str(fault)) == (Reason.ERROR, True)
        assert (await cache.get("first")).value == b"x" * 1000
        await cache.put("first", b"y", 60)
        assert await cache.acquire("lease", "a", 60)
        await cache.close()

    @pytest.mark.parametrize("server", [("-m", "2")], indirect=True)
    @in_loop
    async def test_what_was_evicted_is_none(self, server):
        """An entry that had to go is as one that never was; the newest one is there."""
        cache = client(server)
        for number in range(100):
            await cache.put(f"entry{number}", b"x" * 100_000, 60)
        assert await cache.get("entry0") is None
        assert len((await cache.get("entry99")).value) == 100_000
        await cache.close()

    @pytest.mark.parametrize("server", [("-I", "64k", "-o", "slab_chunk_max=32768")], indirect=True)
    @in_loop
    async def test_what_is_too_large_for_the_server_is_told(self, server):
        """The fault names the option; the next question is answered."""
        cache = client(server)
        fault = await fault_of(cache.put("entry", b"x" * MOST_BYTES, 60))
        assert (fault.reason, "start it with -I 1m" in str(fault)) == (Reason.INVALID, True)
        await cache.put("entry", b"x" * 1000, 60)
        assert len((await cache.get("entry")).value) == 1000
        await cache.close()

    @pytest.mark.parametrize("server", [("-C",)], indirect=True)
    @in_loop
    async def test_leases_need_versions(self, server):
        """Without them a lease of another one could be given up: it is not, and the fault names the option."""
        cache = client(server)
        assert await cache.acquire("lease", "a", 60)
        for question in (cache.acquire("lease", "a", 60), cache.release("lease", "a")):
            fault = await fault_of(question)
            assert (fault.reason, "without -C" in str(fault)) == (Reason.INVALID, True)
        await cache.close()

    @in_loop
    async def test_a_restarted_server_holds_nothing(self, server):
        """The client sees that its connection has ended, and asks over a new one at once."""
        cache = client(server)
        await cache.put("entry", b"x", 60)
        server.stop()
        server.start()
        for _ in range(2):
            await asyncio.sleep(0)  # the loop was away, and looks
        assert await cache.get("entry") is None
        assert await cache.acquire("lease", "a", 60)
        await cache.close()

    @pytest.mark.parametrize("server", [("-c", "60", "-t", "1")], indirect=True)
    @in_loop
    async def test_too_many_connections_are_told(self, server):
        """With their own reason; when there is room again, it is used."""
        cache = client(server)
        others: list[socket.socket] = []
        try:
            for _ in range(100):
                others.append(socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS))
                others[-1].sendall(b"mn\r\n")
                if others[-1].recv(100).startswith(b"ERROR Too many"):
                    break
            fault = await fault_of(cache.get("entry"))
        finally:
            for other in others:
                other.close()
        assert fault.reason is Reason.TOO_MANY_CONNECTIONS

        async def is_well():
            try:
                return await cache.get("entry") is None
            except CacheFault:
                return False

        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not await is_well():
            assert time.monotonic() < ends_at
        await cache.close()


class TestStopped:
    """A server that was stopped and goes on."""

    @in_loop
    async def test_its_first_answer_tells_no_age_from_before(self, server):
        """It answers whoever waits before it looks at its clock; the age is true all the same."""
        cache = client(server)
        for _ in range(4):
            await cache.put("entry", b"x", 60)
            put_at = time.monotonic()
            server.pause()
            wait_until(lambda at=put_at: time.monotonic() > at + 1.3, "a while")
            question = asyncio.ensure_future(cache.get("entry"))
            await asyncio.sleep(0.03)
            asked_at = time.monotonic()
            server.resume()
            assert (await question).age_seconds >= asked_at - put_at
        await cache.close()

    @in_loop
    async def test_what_was_put_while_it_was_stopped_is_not_kept(self, server):
        """It would be as old as the stop was long, and seem new."""
        cache, hasty = client(server), client(server, 0.1)
        assert await hasty.get("entry") is None
        server.pause()
        for _ in range(2):  # over a connection that is open, and over a new one
            assert (await fault_of(hasty.put("entry", b"x", 60))).reason is Reason.TIMEOUT
        server.resume()
        await cache.put("mark", b"x", 60)
        assert await cache.get("entry") is None
        assert await hasty.get("entry") is None
        await cache.close()
        await hasty.close()


class TestTicks:
    """Its clock is one of whole seconds."""

    @pytest.mark.parametrize("seconds", [1, 1.5])
    @in_loop
    async def test_ages_and_ends_hold_their_bounds_at_any_part_of_a_second(self, server, seconds):
        """No age below the truth or far above it; nothing ends before its time, or long after it."""
        cache = client(server)
        began = time.monotonic()
        due = [began + number / 12 for number in range(12)]
        put: dict[str, tuple[float, float]] = {}
        lasted: dict[str, tuple[float, float]] = {}
        seen: dict[str, float] = {}
        while len(lasted) < 2 * len(due):
            for number, moment in enumerate(due):
                entry, lease = f"entry{number}", f"lease{number}"
                asked_at = time.monotonic()
                if entry not in put and asked_at > moment:
                    await cache.put(entry, b"x", seconds)
                    assert await cache.acquire(lease, "a", seconds)
                    put[entry] = put[lease] = asked_at, time.monotonic()
                    seen[entry] = seen[lease] = time.monotonic()
                elif entry in put:
                    held = await cache.get(entry)
                    answered_at = time.monotonic()
                    before, after = put[entry]
                    if held is not None:
                        seen[entry] = asked_at
                        assert asked_at - after <= held.age_seconds <= answered_at - before + cache.coarse_seconds
                    elif entry not in lasted:
                        lasted[entry] = answered_at - before, seen[entry] - after
                    if lease not in lasted:
                        asked_at = time.monotonic()
                        if await cache.acquire(lease, "b", 60):
                            lasted[lease] = time.monotonic() - before, seen[lease] - after
                        else:
                            seen[lease] = asked_at
            await asyncio.sleep(0.01)
        for most, least in lasted.values():
            assert most > seconds
            assert least < math.ceil(seconds) + 2.1
        await cache.close()
