"""The client of Memcached against servers that say what they should not, and its arithmetic of ticks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import canary
from loop import in_loop
from tasker_health.cache import MOST_BYTES, Held, memcached_connection
from tasker_health.cache.memcached import MemcachedCache, memcached_cache
from tasker_health.cache.memcached_connection import Connection
from tasker_health.cache.memcached_ticks import ENTRY, LEASE, MOST_ABOVE_SECONDS, age_of, life
from tasker_health.cache.memcached_wire import Reading, Reply
from tasker_health.errors import CacheFault, SettingsError
from tasker_health.model import Reason

PATIENCE_SECONDS = 30
GIVEN_ENTRY = f"f{ENTRY << 22 | 60}"
GIVEN_LEASE = f"f{LEASE << 22 | 60}"

Say = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that greets as Memcached does, and then says what the test wants, one thing a question.

    Attributes:
        greeting: What it says to `mn`.
        says: What it will say to the questions to come; when nothing is left, it says nothing.
        heard: The lines that it was asked, the greetings excluded.
        prompt_seconds: How long the client takes an answer for prompt; for ever, or a busy machine would look woken.
        accepted: How many connections it has accepted.
        ended: How many of them the client has ended.
    """

    def __init__(self, *says: Say) -> None:
        self.greeting: Say = b"MN\r\n"
        self.says = list(says)
        self.heard: list[bytes] = []
        self.prompt_seconds = math.inf
        self.accepted = self.ended = 0

    @contextlib.asynccontextmanager
    async def cache(self, timeout_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[MemcachedCache]:
        """Give a client of this server."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        cache = memcached_cache(f"memcached://127.0.0.1:{port}", timeout_seconds=timeout_seconds)
        assert isinstance(cache, MemcachedCache)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(memcached_connection, "_PROMPT_SECONDS", self.prompt_seconds)
                yield cache
        finally:
            await cache.close()
            server.close()
            await until(lambda: self.ended == self.accepted, "the client has left")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            while line := await reader.readline():
                if line == b"mn\r\n":
                    await self._say(writer, self.greeting)
                    continue
                self.heard.append(line)
                if block := re.match(rb"ms \S+ (\d+)", line):
                    await reader.readexactly(int(block[1]) + 2)
                await self._say(writer, self.says.pop(0) if self.says else b"")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended += 1
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, say: Say) -> None:
        if isinstance(say, bytes):
            writer.write(say)
            await writer.drain()
        else:
            await say(writer)


async def until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as *condition* is true."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, f"not in time: {what}"
        await asyncio.sleep(0.001)


async def fault_of(question: Awaitable[object]) -> CacheFault:
    """Return the fault that *question* ends with."""
    with pytest.raises(CacheFault) as raised:
        await question
    assert "\n" not in str(raised.value)
    return raised.value


def entry(value: bytes, left: int = 60) -> bytes:
    """Return the answer to the `get` of an entry that was given 60 ticks."""
    return b"VA %d t%d %b\r\n%b\r\n" % (len(value), left, GIVEN_ENTRY.encode(), value)


class TestUrl:
    """One server, and nothing else."""

    @pytest.mark.parametrize(
        ("url", "host", "port"),
        [
            ("memcached://cache", "cache", 11211),
            ("memcached://cache.svc.local.:1", "cache.svc.local.", 1),
            ("memcached://127.0.0.1:65535", "127.0.0.1", 65535),
            ("memcached://[::1]", "::1", 11211),
            ("memcached://[fe80::1:2]:7", "fe80::1:2", 7),
        ],
    )
    def test_names_a_host_and_a_port(self, url, host, port):
        """The port is 11211 unless it is said; IPv6 stands in brackets."""
        cache = memcached_cache(url, timeout_seconds=1)
        assert isinstance(cache, MemcachedCache)
        assert (cache._host, cache._port, cache.name) == (host, port, "memcached")

    @pytest.mark.parametrize(
        "rest",
        [
            *(
                "",
                "/",
                ":11211",
                "a:",
                "a:0",
                "a:65536",
                "a:x",
                "a:123456",
                "a,b",
                "a:1,b:2",
                "a b",
                "a\n",
                "a/0",
                "a/",
            ),
            *("a?x=1", "a#x", "::1", "[::1", "[a]", "[1.2.3.4]", "[::1]x", "é", "a\r\nflush_all", "a:1:2", "a:\u0661"),
        ],
    )
    def test_refuses_the_rest(self, rest):
        """In one line, which names the setting and what is allowed."""
        with pytest.raises(SettingsError, match=r"^cache\.url = memcached://.*one server, without a user") as raised:
            memcached_cache(f"memcached://{rest}", timeout_seconds=1)
        assert len(str(raised.value).splitlines()) == 1

    @pytest.mark.parametrize(
        "form", ["user:{}@cache", ":{}@cache", "{}@cache:1", "a:{} b@c", "cache/{}", "c?password={}", "u:p@{}@c"]
    )
    def test_tells_no_secret(self, form):
        """Whatever stands before an @, and whatever is no host."""
        secret = canary.secret("memcached")
        with pytest.raises(SettingsError) as raised:
            memcached_cache("memcached://" + form.format(secret), timeout_seconds=1)
        assert secret not in str(raised.value)

    @pytest.mark.parametrize("key", ["", "a b", "a\r\nflush_all", "é", "x" * 201, "a\0", "a\x7f"])
    @in_loop
    async def test_a_key_that_is_none_is_not_sent(self, key):
        """It could be a command."""
        server = Scripted()
        async with server.cache() as cache:
            for ask in (cache.get(key), cache.put(key, b"", 1), cache.acquire(key, "a", 1), cache.release(key, "a")):
                with pytest.raises(ValueError, match="a key is"):
                    await ask
        assert server.accepted == 0


class TestReading:
    """Bytes become one reply, or a fault, or more is awaited."""

    GRAMMAR = re.compile(rb"(?:HD|EN|NS|EX|NF|MN|VA (?P<size>0|[1-9][0-9]{0,9}))(?: [!-~]+)*\r\n")

    @staticmethod
    def read(pieces: list[bytes]) -> Reply | CacheFault | None:
        """Return what comes of *pieces*: a reply only with the last one."""
        reading = Reading()
        reply = None
        for number, piece in enumerate(pieces):
            try:
                reply = reading.feed(piece)
            except CacheFault as fault:
                return fault
            if reply is not None and number < len(pieces) - 1:
                return CacheFault(Reason.INVALID, "more would come unasked")
            assert len(reading._bytes) <= MOST_BYTES + 3 + len(piece)
        return reply

    LINES = st.builds(
        lambda code, flags, ending, rest: b" ".join([code, *flags]) + ending + rest,
        st.sampled_from(
            [b"HD", b"EN", b"VA", b"VA 0", b"VA 3", b"VA 03", b"VA -1", b"VA 9999999999", b"MN", b"XX", b""]
        ),
        st.lists(st.sampled_from([b"t60", b"t-1", b"f0", b"f", b"c1", b"", b"\xff", b"1", b"\0", b"v v"]), max_size=4),
        st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n"]),
        st.sampled_from([b"", b"abc\r\n", b"abc", b"\r\n", b"abc\r\nHD\r\n", b"ab\r\n", b"abcde"]),
    )

    @settings(max_examples=500)
    @given(data=st.one_of(st.binary(max_size=60), LINES), cuts=st.lists(st.integers(0, 80), max_size=5))
    def test_gives_what_the_grammar_gives(self, data, cuts):
        """However it arrives in pieces: a reply if and only if it is one, of exactly these bytes."""
        assume(data)
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        pieces = [data[begin:end] for begin, end in itertools.pairwise(places)]
        found = self.read(pieces)
        head = self.GRAMMAR.match(data)
        size = int(head["size"] or -2) if head else -2
        is_whole = head is not None and len(data) == head.end() + size + 2
        if is_whole and (size < 0 or data.endswith(b"\r\n")):
            assert isinstance(found, Reply)
            assert found.code.encode() == data[:2]
            assert found.value == (data[head.end() : -2] if size >= 0 else b"")
            assert found.flags == {word[:1].decode(): word[1:].decode() for word in head[0].split()[1 + (size >= 0) :]}
        elif len(data) < head.end() + size + 2 if head is not None else b"\r\n" not in data:
            assert found is None
        else:
            assert isinstance(found, CacheFault)
            assert str(found).isprintable()

    @settings(max_examples=50)
    @given(size=st.integers(MOST_BYTES - 2, MOST_BYTES + 3), piece=st.sampled_from([1000, 65536, 10**6]))
    def test_cuts_a_value_that_is_too_long(self, size, piece):
        """One byte more than is allowed shows that it is too much; the rest is not awaited."""
        data = b"VA %d\r\n" % size + b"x" * min(size, MOST_BYTES + 1)
        data += b"\r\n" if size <= MOST_BYTES else b""
        reply = self.read([data[begin : begin + piece] for begin in range(0, len(data), piece)])
        assert isinstance(reply, Reply)
        assert (len(reply.value), reply.is_cut) == (min(size, MOST_BYTES + 1), size > MOST_BYTES)

    @pytest.mark.parametrize(
        ("line", "reason", "words"),
        [
            (b"ERROR", Reason.UNKNOWN_VERSION, "Memcached 1.6.10 or newer is needed"),
            (b"ERROR Too many open connections", Reason.TOO_MANY_CONNECTIONS, "a greater -c"),
            (b"CLIENT_ERROR unauthenticated", Reason.AUTHENTICATION_FAILED, "-Y is not supported"),
            (b"CLIENT_ERROR bad command line format", Reason.ERROR, "bad command line format"),
            (b"SERVER_ERROR object too large for cache", Reason.INVALID, "start it with -I 1m or more"),
            (b"SERVER_ERROR out of memory storing object", Reason.ERROR, "start it with a greater -m"),
            (b"SERVER_ERROR out of memory reading request", Reason.ERROR, "start it with a greater -m"),
            (b"SERVER_ERROR \xff\0\x1b[31m" + b"x" * 500, Reason.ERROR, "SERVER_ERROR ?"),
            (b"HTTP/1.1 400 Bad Request", Reason.INVALID, "what Memcached does not"),
            (b"VALUE k 0 3", Reason.INVALID, "what Memcached does not"),
            (b"OK", Reason.INVALID, "what Memcached does not"),
            (b"VA", Reason.INVALID, "what Memcached does not"),
        ],
    )
    def test_tells_why_the_server_refuses(self, line, reason, words):
        """Its own words, where they are known to be Memcached's, and what to do."""
        fault = self.read([line + b"\r\n"])
        assert isinstance(fault, CacheFault)
        assert (fault.reason, words in str(fault), str(fault).isprintable()) == (reason, True, True), fault
        assert len(str(fault)) < 250


class TestTicks:
    """Ages and lives by a clock of whole seconds, which is looked at once in a second and a little."""

    @example(phase=0.995, drift=0.01, put_at=1.0, seconds=0.5, later=0.01)  # the clock goes on by two in between
    @settings(max_examples=1000)
    @given(
        phase=st.floats(0, 1, exclude_max=True),
        drift=st.floats(0, 0.01),
        put_at=st.floats(0, 300),
        seconds=st.floats(0.1, 40),
        later=st.floats(0, 50),
    )
    def test_hold_their_bounds(self, phase, drift, put_at, seconds, later):
        """No age below the truth or too far above it, nothing that ends before its time or long after it."""
        looks = [phase + number * (1 + drift) for number in range(400)]

        def clock(moment: float) -> int:
            return math.floor([look for look in looks if look <= moment + 1][-1])

        given_ticks, flags = (word[1:] for word in life(seconds, ENTRY).split())
        left = clock(put_at) + int(given_ticks) - clock(put_at + later)
        if left <= 0:
            assert later > seconds
        else:
            age = age_of(Reply("VA", {"t": str(left), "f": flags}), ENTRY)
            assert later <= age < (later + MOST_ABOVE_SECONDS) * 1.01
            assert later < (math.ceil(seconds) + 2) * (1 + drift)

    def test_no_life_is_so_long_that_it_is_a_date(self):
        """Beyond 30 days the server would take it for a moment of 1970."""
        assert life(10**9, ENTRY).startswith("T2592000 ")
        assert life(2592000, LEASE).startswith("T2592000 ")

    @pytest.mark.parametrize(
        "flags",
        [
            *({}, {"t": "60"}, {"f": GIVEN_ENTRY[1:]}, {"t": "x", "f": GIVEN_ENTRY[1:]}, {"t": "60", "f": ""}),
            *({"t": "60", "f": "0"}, {"t": "60", "f": "60"}, {"t": "60", "f": str(2**32 - 1)}),
            *(
                {"t": "-1", "f": GIVEN_ENTRY[1:]},
                {"t": "61", "f": GIVEN_ENTRY[1:]},
                {"t": "9" * 25, "f": GIVEN_ENTRY[1:]},
            ),
            *({"t": "60", "f": GIVEN_LEASE[1:]}, {"t": "60", "f": f"-{GIVEN_ENTRY[1:]}"}),
        ],
    )
    def test_what_is_not_ours_has_no_age(self, flags):
        """Flags of somebody else, no end, another end than the one that we gave it."""
        with pytest.raises(CacheFault) as raised:
            age_of(Reply("VA", flags), ENTRY)
        assert raised.value.reason is Reason.INVALID


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection."""
    writer.close()


async def half(writer: asyncio.StreamWriter) -> None:
    """Say half of an answer and close the connection."""
    writer.write(entry(b"x" * 1000)[:500])
    await writer.drain()
    writer.close()


async def _hog(seconds: float) -> None:
    """Leave the loop one turn every so many *seconds*."""
    while True:
        time.sleep(seconds)
        await asyncio.sleep(0)


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Say an answer so slowly that it never ends."""
    for byte in entry(b"x" * MOST_BYTES):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.005)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Say a line that never ends, as fast as it is taken."""
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


class TestServers:
    """What a server can do wrong costs one question: the next one is answered."""

    @pytest.mark.parametrize(
        ("say", "reason"),
        [
            (hang_up, Reason.UNREACHABLE),
            (half, Reason.UNREACHABLE),
            (flood, Reason.INVALID),
            (b"\0" * 5000, Reason.INVALID),
            (entry(b"x") + b"HD\r\n", Reason.INVALID),
            (b"EN\r\nEN\r\n", Reason.INVALID),
            (b"HD t1 f1\r\n", Reason.INVALID),
            (b"VA 4 t60 f0\r\nhello\r\n", Reason.INVALID),
            (entry(b"x").replace(b"x\r\n", b"xyz"), Reason.INVALID),
            (b"VA 99999999999999999999 t60\r\n", Reason.INVALID),
            (b"SERVER_ERROR out of memory writing get response\r\n", Reason.ERROR),
            (b"ERROR\r\n", Reason.UNKNOWN_VERSION),
        ],
    )
    @in_loop
    async def test_each_surprise_is_a_fault_and_passes(self, say, reason):
        """With its reason; what was said belatedly is not taken for the next answer."""
        server = Scripted(say, entry(b"next"))
        async with server.cache() as cache:
            assert (await fault_of(cache.get("k"))).reason is reason
            assert await cache.get("k") == Held(b"next", 1.01)
        assert server.accepted == 2

    @in_loop
    async def test_what_somebody_else_put_is_no_surprise(self):
        """It is refused, and the connection goes on."""
        server = Scripted(b"VA 5 t60 f0\r\nhello\r\n", entry(b"next"))
        async with server.cache() as cache:
            assert (await fault_of(cache.get("k"))).reason is Reason.INVALID
            assert (await cache.get("k")).value == b"next"
        assert server.accepted == 1

    @pytest.mark.parametrize("say", [b"", b"VA 10 t60 f1\r\nabc", b"EN\r", trickle])
    @in_loop
    async def test_what_never_ends_costs_the_deadline(self, say):
        """Nothing at all, half an answer, a trickle; the connection is closed at once."""
        server = Scripted(say)
        async with server.cache(0.1) as cache:
            began = time.monotonic()
            assert (await fault_of(cache.get("k"))).reason is Reason.TIMEOUT
            assert 0.09 <= time.monotonic() - began < 2
            await until(lambda: server.ended == 1, "the connection is closed")

    @pytest.mark.parametrize(
        ("greeting", "reason"),
        [
            (b"ERROR\r\n", Reason.UNKNOWN_VERSION),
            (b"EN\r\n", Reason.UNKNOWN_VERSION),
            (b"ERROR Too many open connections\r\n", Reason.TOO_MANY_CONNECTIONS),
            (b"-ERR unknown command 'mn'\r\n", Reason.INVALID),
            (hang_up, Reason.UNREACHABLE),
            (b"", Reason.TIMEOUT),
        ],
    )
    @in_loop
    async def test_nothing_is_sent_to_a_server_that_greets_otherwise(self, greeting, reason):
        """One older than 1.6.10 would take a value for commands."""
        server = Scripted()
        server.greeting = greeting
        async with server.cache(PATIENCE_SECONDS if greeting else 0.1) as cache:
            for ask in (cache.get("k"), cache.put("k", b"flush_all\r\n", 9), cache.acquire("k", "a", 9)):
                assert (await fault_of(ask)).reason is reason
        assert (server.heard, server.accepted) == ([], 3)

    @in_loop
    async def test_a_reply_that_comes_unasked_ends_the_connection(self):
        """It would be taken for the answer to the next question."""
        server = Scripted(b"EN\r\n", entry(b"next"))
        said = asyncio.Event()

        async def say_more(writer):
            writer.write(b"EN\r\n")
            await writer.drain()
            await said.wait()
            writer.write(entry(b"another's"))
            await writer.drain()

        server.says[0] = say_more
        async with server.cache() as cache:
            assert await cache.get("k") is None
            said.set()
            await until(lambda: server.ended == 1, "the client hangs up")
            assert (await cache.get("k")).value == b"next"

    @in_loop
    async def test_a_cancelled_question_ends_its_connection(self):
        """Its answer is nobody's."""
        server = Scripted(b"", entry(b"next"))
        async with server.cache() as cache:
            leaving = asyncio.ensure_future(cache.get("k"))
            await until(lambda: server.heard, "it was asked")
            leaving.cancel()
            await asyncio.wait({leaving})
            assert leaving.cancelled()
            assert (await cache.get("k")).value == b"next"
        assert server.accepted == 2

    @in_loop
    async def test_an_answer_that_has_come_counts_however_late_the_loop_looks(self):
        """A loop that was away for longer than the deadline does not blame the cache."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        connection = Connection(ours)
        ends_at = asyncio.get_running_loop().time() + 0.05
        question = asyncio.ensure_future(connection.ask(b"mg k\r\n", ends_at, "EN"))
        await asyncio.sleep(0)
        theirs.sendall(b"EN\r\n")
        time.sleep(0.1)
        assert (await question).code == "EN"
        assert connection.is_open
        assert connection.was_prompt
        connection.close()
        theirs.close()

    @in_loop
    async def test_a_connection_that_a_starved_loop_could_not_open_in_time_goes_on(self):
        """The next question finds it, or none ever would; given up, it is none the less ended."""
        server = Scripted(entry(b"x"))
        async with server.cache(0.2) as cache:
            hog = asyncio.ensure_future(_hog(0.15))
            fault = await fault_of(cache.get("k"))
            hog.cancel()
            assert fault.reason is Reason.TIMEOUT
            await until(lambda: cache._connection is not None, "it goes on")
            assert (await cache.get("k")).value == b"x"
            await cache.close()
            hog = asyncio.ensure_future(_hog(0.15))
            await fault_of(cache.get("k"))
            await cache.close()
            hog.cancel()
            await until(lambda: server.accepted == server.ended == 2, "it is ended")
        assert server.heard == [b"mg k v t f\r\n"]

    @in_loop
    async def test_a_value_that_is_too_long_ends_the_connection(self):
        """What is left of it is not taken for the next answer."""
        server = Scripted(entry(b"x" * 700_000), entry(b"next"))
        async with server.cache() as cache:
            assert len((await cache.get("k")).value) == MOST_BYTES + 1
            assert (await cache.get("k")).value == b"next"
        assert server.accepted == 2

    @in_loop
    async def test_a_value_is_not_sent_to_a_server_that_is_silent(self):
        """It would be kept as new when the server wakes up."""
        server = Scripted(b"EN\r\n")
        async with server.cache(0.1) as cache:
            assert await cache.get("k") is None
            server.greeting = b""
            assert (await fault_of(cache.put("k", b"x", 9))).reason is Reason.TIMEOUT
        assert len(server.heard) == 1

    @in_loop
    async def test_one_large_value_is_sent_in_pieces(self):
        """To a server that takes its time; and the deadline holds while it takes nothing."""
        taken = asyncio.Event()

        async def wait(writer):
            await taken.wait()
            writer.write(b"MN\r\n")

        server = Scripted(b"HD\r\n")
        async with server.cache() as cache:
            await cache.put("k", b"x" * MOST_BYTES * 8, 9)
        server.greeting = wait
        async with server.cache(0.1) as cache:
            assert (await fault_of(cache.put("k", b"x" * MOST_BYTES * 8, 9))).reason is Reason.TIMEOUT
            taken.set()
        assert len(server.heard) == 1

    @settings(max_examples=60)
    @given(noise=st.one_of(st.binary(max_size=200), TestReading.LINES))
    def test_noise_is_never_an_answer(self, noise):
        """Nor a crash, nor a wait: it is a fault, unless it is well-formed."""

        async def say(writer):
            writer.write(noise)
            await writer.drain()
            writer.close()

        async def play():
            async with Scripted(say).cache() as cache:
                try:
                    return await cache.get("k")
                except CacheFault as fault:
                    return fault

        found = asyncio.run(asyncio.wait_for(play(), PATIENCE_SECONDS))
        assert isinstance(found, CacheFault) or (found is None and noise.startswith(b"EN"))


class TestWoken:
    """A server that was stopped and goes on answers before it has looked at its clock."""

    @in_loop
    async def test_an_answer_that_took_long_is_asked_for_again(self):
        """The second one is by a clock that goes."""

        async def slow(writer):
            time.sleep(0.05)
            writer.write(entry(b"old", 60))

        server = Scripted(slow, entry(b"new", 30))
        server.prompt_seconds = 0.005
        async with server.cache() as cache:
            assert await cache.get("k") == Held(b"new", 31 * 1.01)

    @in_loop
    async def test_a_lease_that_took_long_is_asked_for_again(self):
        """Or it would end as soon as the clock is looked at."""

        async def slow(writer):
            time.sleep(0.05)
            writer.write(b"HD\r\n")

        held = b"VA 1 t1 %b c7\r\na\r\n" % GIVEN_LEASE.encode()
        server = Scripted(slow, b"NS\r\n", held, b"HD\r\n")
        server.prompt_seconds = 0.005
        async with server.cache() as cache:
            assert await cache.acquire("k", "a", 9) is True
        assert server.heard[-1].endswith(b" C7\r\n")


class TestLeases:
    """What happens between two commands is seen."""

    HELD = b"VA 1 t9 %b c7\r\na\r\n" % GIVEN_LEASE.encode()

    @pytest.mark.parametrize(
        ("says", "is_granted"),
        [
            ([b"HD\r\n"], True),
            ([b"NS\r\n", HELD, b"HD\r\n"], True),
            ([b"NS\r\n", HELD, b"EX\r\n"], False),
            ([b"NS\r\n", HELD, b"NF\r\n", b"HD\r\n"], True),
            ([b"NS\r\n", b"EN\r\n", b"HD\r\n"], True),
            ([b"NS\r\n", b"EN\r\n", b"NS\r\n", HELD, b"HD\r\n"], True),
            ([b"NS\r\n", b"EN\r\n", b"NS\r\n", b"EN\r\n"], False),
            ([b"NS\r\n", HELD.replace(b"\na\r", b"\nb\r")], False),
        ],
    )
    @in_loop
    async def test_it_is_granted_by_the_server_alone(self, says, is_granted):
        """Whoever was quicker has it."""
        server = Scripted(*says)
        async with server.cache() as cache:
            assert await cache.acquire("k", "a", 9) is is_granted
        assert server.says == []

    @pytest.mark.parametrize(
        "held",
        [
            b"VA 1 t-1 %b c7\r\na\r\n" % GIVEN_LEASE.encode(),
            b"VA 1 t9 %b c7\r\na\r\n" % GIVEN_ENTRY.encode(),
            b"VA 1 t9 f0 c7\r\na\r\n",
            b"VA 1 t9 %b\r\na\r\n" % GIVEN_LEASE.encode(),
            b"VA 1 t9 %b c0\r\na\r\n" % GIVEN_LEASE.encode(),
        ],
    )
    @in_loop
    async def test_what_is_no_lease_is_told(self, held):
        """It would never end, or cannot be renewed: nobody would ever have it."""
        async with Scripted(b"NS\r\n", held, held).cache() as cache:
            assert (await fault_of(cache.acquire("k", "a", 9))).reason is Reason.INVALID
            assert (await fault_of(cache.release("k", "a"))).reason is Reason.INVALID
