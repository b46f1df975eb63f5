"""The cache in Redis and Valkey: what its servers refuse, what is on the port instead of one, and failover."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

import pytest
import redis

import canary
from caches import RedisServer, SentinelSet
from certificates import Authority
from faulty_proxy import FaultyProxy
from loop import in_loop
from server import wait_until
from tasker_health.cache import Cache
from tasker_health.cache import redis as redis_module
from tasker_health.cache.redis import RedisCache, redis_cache
from tasker_health.errors import CacheFault, SettingsError
from tasker_health.model import Reason

PATIENCE = 30
SHORT = 0.3


@contextlib.asynccontextmanager
async def opened(url: str, timeout_seconds: float = PATIENCE, ca_file: str | None = None) -> AsyncIterator[Cache]:
    """Give a client, closed at the end."""
    cache = redis_cache(url, timeout_seconds=timeout_seconds, ca_file=ca_file)
    try:
        yield cache
    finally:
        await cache.close()


async def fault_of(question) -> CacheFault:
    """Return the fault of *question*; its words go where the canary looks."""
    with pytest.raises(CacheFault) as raised:
        await question
    canary.look("a fault", str(raised.value), repr(raised.value))
    assert "\n" not in str(raised.value)
    return raised.value


async def fault_at(url: str, timeout_seconds: float = PATIENCE, ca_file: str | None = None) -> CacheFault:
    """Return the fault of a question at *url*."""
    async with opened(url, timeout_seconds, ca_file) as cache:
        return await fault_of(cache.get("entry"))


@contextlib.contextmanager
def server(**options):
    """Give a Redis, ended at the end."""
    made = RedisServer(**options)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def plain():
    """A Redis that the tests of this module share."""
    with server() as made:
        yield made


@pytest.fixture(scope="module")
def secure():
    """A Redis with password and TLS that the tests of this module share."""
    with server(password=canary.secret("cache"), authority=Authority()) as made:
        yield made


@contextlib.contextmanager
def _asked_the_time(then: Callable[[], None]):
    """Call *then* as soon as the server has said what time it is."""
    time_of = redis_module._time

    async def hanging(connection):
        try:
            return await time_of(connection)
        finally:
            then()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_module, "_time", hanging)
        yield


class TestRefusals:
    """What a server refuses has a reason of the closed list, and never says the password."""

    @in_loop
    async def test_passwords(self, plain, secure):
        """A wrong one, none, and one where none is asked for."""
        wrong, host = canary.secret("wrong"), f"127.0.0.1:{secure.port}"
        for user in (f":{wrong}@", "", f"somebody:{wrong}@"):
            fault = await fault_at(f"rediss://{user}{host}", ca_file=secure.ca_file)
            assert fault.reason is Reason.AUTHENTICATION_FAILED, user
        for user in (f":{wrong}@", f"somebody:{wrong}@"):
            fault = await fault_at(f"redis://{user}127.0.0.1:{plain.port}")
            assert fault.reason is Reason.AUTHENTICATION_FAILED, user

    @in_loop
    async def test_the_least_rights_suffice(self, plain):
        """A user who may do only what the page names, with a password full of signs; less is refused."""
        password = f"{canary.secret('acl')}:/?#[]@%&\u00e9"
        rights = "+pttl +getrange +time +eval +get +set +pexpireat +del"
        plain.ask("ACL", "SETUSER", "limited", "reset", "on", f">{password}", "~tasker:*", *rights.split())
        url = f"redis://limited:{quote(password, safe='')}@127.0.0.1:{plain.port}"
        async with opened(url) as cache:
            await cache.put("tasker:entry", b"x", 60)
            assert (await cache.get("tasker:entry")).value == b"x"
            assert await cache.acquire("tasker:lease", "a", 60)
            await cache.release("tasker:lease", "a")
            assert (await fault_of(cache.get("another"))).reason is Reason.AUTHENTICATION_FAILED
            plain.ask("ACL", "SETUSER", "limited", "-getrange")
            assert (await fault_of(cache.get("tasker:entry"))).reason is Reason.AUTHENTICATION_FAILED
            plain.ask("ACL", "SETUSER", "limited", "+getrange")
            assert (await cache.get("tasker:entry")).value == b"x"

    @in_loop
    async def test_numbered_databases(self, plain):
        """Each holds its own; one that is not there is missing."""
        url = f"redis://127.0.0.1:{plain.port}"
        async with opened(f"{url}/1") as one, opened(f"{url}/2") as two:
            await one.put("numbered", b"one", 60)
            assert await two.get("numbered") is None
        assert (await fault_at(f"{url}/9999")).reason is Reason.MISSING

    @in_loop
    async def test_a_replica_is_read_only(self):
        """It answers; what would write is refused, and the next question is answered."""
        with server(replicaof="127.0.0.1 1") as replica:
            async with opened(replica.url) as cache:
                for question in (
                    lambda: cache.put("entry", b"x", 60),
                    lambda: cache.acquire("lease", "a", 60),
                ):
                    assert (await fault_of(question())).reason is Reason.READ_ONLY
                assert await cache.get("entry") is None
                replica.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
                assert (await fault_of(cache.get("entry"))).reason is Reason.REFUSED
                replica.ask("REPLICAOF", "NO", "ONE")
                await cache.put("entry", b"x", 60)

    @in_loop
    async def test_a_full_server_says_so(self):
        """What would need memory is refused, the rest is answered, over the same connection."""
        with server(maxmemory=1, maxmemory_policy="noeviction") as full:
            async with opened(full.url) as cache:
                for question in (lambda: cache.put("entry", b"x", 60), lambda: cache.acquire("lease", "a", 60)):
                    fault = await fault_of(question())
                    assert (fault.reason, "full" in str(fault)) == (Reason.ERROR, True)
                before = full.ask("INFO", "stats")["total_connections_received"]
                assert await cache.get("entry") is None
                assert full.ask("INFO", "stats")["total_connections_received"] == before + 1  # the one of INFO

    @in_loop
    async def test_a_busy_server_refuses(self):
        """A script that does not end: refused; when it is killed, the same client is answered."""
        with server(busy_reply_threshold=10) as busy, busy.client() as other:
            async with opened(busy.url, 1) as cache:
                await cache.put("entry", b"x", 60)

                def loop_for_ever():
                    with pytest.raises(redis.ResponseError):
                        other.eval("while true do end", 0)

                script = asyncio.create_task(asyncio.to_thread(loop_for_ever))
                ends_at = time.monotonic() + PATIENCE
                while True:
                    with contextlib.suppress(CacheFault):
                        await cache.get("entry")
                        assert time.monotonic() < ends_at
                        continue
                    break
                fault = await fault_of(cache.get("entry"))
                assert (fault.reason, "BUSY" in str(fault)) == (Reason.REFUSED, True)
                busy.ask("SCRIPT", "KILL")
                await script
                assert (await cache.get("entry")).value == b"x"

    @in_loop
    async def test_what_it_does_when_it_goes_on_is_as_old_as_it_was_asked(self):
        """A server hangs in the middle of a put and an acquire: what it keeps of them has begun to age then."""
        with server() as hung:
            async with opened(hung.url, SHORT) as cache, opened(hung.url) as patient:
                await cache.put("entry", b"old", 60)
                with _asked_the_time(hung.pause):
                    assert (await fault_of(cache.put("entry", b"x", 60))).reason is Reason.TIMEOUT
                hung.resume()
                hung.ask("PING")
                with _asked_the_time(hung.pause):
                    assert (await fault_of(cache.acquire("lease", "a", SHORT))).reason is Reason.TIMEOUT
                hung.resume()
                value, age = await patient.get("entry")
                assert (value, age >= 2 * SHORT) == (b"x", True)
                assert await patient.acquire("lease", "b", 60)

    @in_loop
    async def test_too_many_clients(self):
        """A server that takes no more of them says so."""
        with server(maxclients=1) as small, small.client() as other:
            other.ping()
            assert (await fault_at(small.url)).reason is Reason.TOO_MANY_CONNECTIONS

    @in_loop
    async def test_a_connection_that_the_server_has_ended_costs_nothing(self, plain):
        """It is noticed before it is used."""
        async with opened(plain.url) as cache:
            await cache.put("entry", b"x", 60)
            plain.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.05)  # the turn in which the loop sees it
            assert (await cache.get("entry")).value == b"x"


class TestTls:
    """A certificate that is not to be trusted is not, and the wrong port is noticed."""

    @in_loop
    async def test_who_signed_it_counts(self, secure, tmp_path):
        """Another authority, the machine's own, and another name are refused; no question is sent."""
        (tmp_path / "other.pem").write_bytes(Authority().pem)
        for ca_file in (str(tmp_path / "other.pem"), None):
            assert (await fault_at(secure.url, ca_file=ca_file)).reason is Reason.UNREACHABLE
        by_another_name = secure.url.replace("127.0.0.1", "127.0.0.2")
        assert (await fault_at(by_another_name, ca_file=secure.ca_file)).reason in {Reason.UNREACHABLE, Reason.REFUSED}

    @in_loop
    async def test_one_who_speaks_and_one_who_does_not(self, plain, secure):
        """TLS to a port without it, and the other way round: a fault in time."""
        for url in (f"rediss://127.0.0.1:{plain.port}", f"redis://127.0.0.1:{secure.port}"):
            fault = await fault_at(url, SHORT, secure.ca_file)
            # The plain one waits for the end of a line in what TLS says first.
            assert fault.reason in {Reason.UNREACHABLE, Reason.INVALID, Reason.TIMEOUT}, (url, fault)

    def test_a_file_that_is_none_is_a_setting_to_correct(self, tmp_path):
        """Absent, or without a certificate: said before the first question."""
        (tmp_path / "empty.pem").write_text("nothing\n")
        for name in ("absent.pem", "empty.pem"):
            with pytest.raises(SettingsError, match=r"^cache\.tls_ca_file = "):
                redis_cache("rediss://127.0.0.1", timeout_seconds=1, ca_file=str(tmp_path / name))


@contextlib.asynccontextmanager
async def port_that(serve: Callable) -> AsyncIterator[int]:
    """Give a port at which *serve* talks to each connection."""
    tasks = set()

    async def accept(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _silent(reader, writer):
    await reader.read()


async def _echo(reader, writer):
    while chunk := await reader.read(65536):
        writer.write(chunk)


async def _gossip(reader, writer):
    while chunk := await reader.read(65536):
        writer.write(b"-ERR you said " + b" ".join(chunk.split()) + b"\r\n")


async def _gossip_of_redis(reader, writer):
    """Cut off what it was told, as Redis does when it does not know a command."""
    while chunk := await reader.read(65536):
        writer.write(
            b"-ERR unknown command 'AUTH', with args beginning with: '" + b" ".join(chunk.split())[:-2] + b"'\r\n"
        )


async def _closing(reader, writer):
    await reader.read(10)


def _saying(words: bytes, *, endlessly: bool = False):
    async def serve(reader, writer):
        await reader.read(10)
        writer.write(words)
        while endlessly:
            writer.write(words[-1:] * 65536)
            await writer.drain()
        await reader.read()

    return serve


async def _trickling(reader, writer):
    while True:
        writer.write(b"+")
        await asyncio.sleep(0.01)


NOISE = {
    "web": (_saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), {Reason.INVALID}),
    "mail": (_saying(b"220 mail.example ESMTP\r\n"), {Reason.INVALID}),
    "zeroes": (_saying(bytes(70_000)), {Reason.INVALID}),
    "endless line": (_saying(b"+x", endlessly=True), {Reason.INVALID}),
    "too much": (_saying(b"$99999999999\r\nx", endlessly=True), {Reason.INVALID}),
    "less than nothing": (_saying(b"$-7\r\n"), {Reason.INVALID}),
    "no number": (_saying(b"*x\r\n"), {Reason.INVALID}),
    "great number": (_saying(b":" + b"9" * 10_000 + b"\r\n"), {Reason.INVALID}),
    "deep": (_saying(b"*1\r\n" * 10_000), {Reason.INVALID}),
    "long list": (_saying(b"*2000000000\r\n"), {Reason.TIMEOUT}),
    "yes and yes": (_saying(b"+OK\r\n" * 10), {Reason.INVALID, Reason.AUTHENTICATION_FAILED}),
    "lists": (_saying(b"*0\r\n" * 10), {Reason.INVALID, Reason.AUTHENTICATION_FAILED}),
    "nothings": (_saying(b"$-1\r\n" * 10), {Reason.INVALID, Reason.AUTHENTICATION_FAILED}),
    "numbers": (_saying(b":1\r\n" * 10), {Reason.INVALID, Reason.AUTHENTICATION_FAILED}),
    "loading": (_saying(b"-LOADING Redis is loading the dataset in memory\r\n" * 10), {Reason.REFUSED}),
    "protected": (_saying(b"-DENIED Redis is running in protected mode\r\n" * 10), {Reason.REFUSED}),
    "half": (_saying(b"$5\r\nab"), {Reason.TIMEOUT, Reason.AUTHENTICATION_FAILED}),
    "silence": (_silent, {Reason.TIMEOUT}),
    "trickle": (_trickling, {Reason.TIMEOUT}),
    "echo": (_echo, {Reason.INVALID, Reason.AUTHENTICATION_FAILED}),
    "gossip": (_gossip, {Reason.ERROR, Reason.TIMEOUT}),
    "gossip of Redis": (_gossip_of_redis, {Reason.ERROR, Reason.TIMEOUT}),
    "closed": (_closing, {Reason.UNREACHABLE}),
}


class TestNoise:
    """What is no Redis is a fault in time, costs little memory, and is not told what we said."""

    @pytest.mark.parametrize("has_password", [False, True], ids=["open", "password"])
    @pytest.mark.parametrize("noise", NOISE)
    @in_loop
    async def test_what_is_on_the_port_instead(self, noise, has_password):
        """The reason is the right one, within the deadline, in few megabytes."""
        serve, reasons = NOISE[noise]
        user = f":{canary.secret('cache')}@" if has_password else ""
        async with port_that(serve) as port, opened(f"redis://{user}127.0.0.1:{port}", SHORT) as cache:
            for _ in range(2):
                tracemalloc.start()
                began = time.monotonic()
                fault = await fault_of(cache.get("entry"))
                took = time.monotonic() - began
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert fault.reason in reasons, fault
                assert "canary" not in str(fault), "not even a part of the password"
                assert took < SHORT + 2
                assert peak < 8_000_000

    @in_loop
    async def test_a_reply_that_nobody_asked_for_answers_no_question(self):
        """What waits there to be read before a question is asked ends the connection."""
        entry = b"th1\n" + (60_000).to_bytes(8) + b"%d"
        accepted = []

        async def serve(reader, writer):
            accepted.append(writer)
            body = entry % len(accepted)
            while await reader.read(65536):
                writer.write(b":60000\r\n$%d\r\n%s\r\n" % (len(body), body) * 2)

        async with port_that(serve) as port, opened(f"redis://127.0.0.1:{port}") as cache:
            assert (await cache.get("entry")).value == b"1"
            await asyncio.sleep(0.05)  # the turn in which the second reply arrives
            assert (await cache.get("entry")).value == b"2"

    @pytest.mark.parametrize("mode", ["blackhole", "reset", "refuse"])
    @in_loop
    async def test_bad_weather_on_the_way(self, secure, mode):
        """Through a proxy that fails, before and after TLS is set up: in time, and well again at once."""
        with FaultyProxy(secure.port) as proxy:
            url = secure.url.replace(str(secure.port), str(proxy.port))
            for is_connected in (False, True):
                async with opened(url, SHORT, secure.ca_file) as cache:
                    if is_connected:
                        await cache.put("entry", b"x", 60)
                    await asyncio.to_thread(proxy.set, mode)
                    began = time.monotonic()
                    fault = await fault_of(cache.get("entry"))
                    assert time.monotonic() - began < SHORT + 2
                    assert fault.reason in {Reason.TIMEOUT, Reason.UNREACHABLE, Reason.REFUSED}
                    await asyncio.to_thread(proxy.set, "pass")
                    async with opened(url, ca_file=secure.ca_file) as patient:
                        await patient.put("entry", b"x", 60)
                    assert (await cache.get("entry")).value == b"x"


class TestSentinels:
    """The master is whom the sentinels name, whoever of them answers."""

    @in_loop
    async def test_failover(self):
        """The master is killed: faults in time until another one is elected; then the same client is answered."""
        fleet = SentinelSet(password=canary.secret("cache"), sentinel_password=canary.secret("sentinel"))
        try:
            async with opened(fleet.url, 1) as cache:
                await cache.put("entry", b"x", 600)
                wait_until(lambda: fleet.replica.ask("EXISTS", "entry"), "the replica has it")
                fleet.sentinels[0].pause()  # one of three may be silent all the time
                fleet.master.kill()
                reasons, ends_at = set(), time.monotonic() + PATIENCE
                while time.monotonic() < ends_at:
                    try:
                        await cache.put("entry", b"y", 600)
                        break
                    except CacheFault as fault:
                        canary.look("a fault", str(fault))
                        reasons.add(fault.reason)
                assert fleet.replica.ask("GET", "entry").endswith(b"y")
                value, age = await cache.get("entry")
                assert (value, age < PATIENCE) == (b"y", True)
                assert reasons <= {Reason.REFUSED, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.READ_ONLY}
                assert reasons
        finally:
            fleet.end()

    @in_loop
    async def test_what_sentinels_refuse(self, sentinel_set):
        """A service that they do not know, a password that is wrong there, and none that answers."""
        url = sentinel_set.url
        assert (await fault_at(url.replace("/tasker/", "/another/"))).reason is Reason.MISSING
        right = sentinel_set.sentinels[0].password
        wrong = url.replace(right, canary.secret("wrong"))
        assert (await fault_at(wrong)).reason is Reason.AUTHENTICATION_FAILED
        named = url.replace("?sentinel_password=", "?sentinel_username=default&sentinel_password=")
        async with opened(named, 2) as cache:
            await cache.put("entry", b"x", 60)
            assert cache._sentinels[0][1] == sentinel_set.sentinels[0].port
            for sentinel in sentinel_set.sentinels:
                sentinel.pause()
            assert (await cache.get("entry")).value == b"x"
            assert (await fault_at(url, SHORT)).reason is Reason.TIMEOUT
            sentinel_set.sentinels[2].resume()
            await cache.close()
            assert (await cache.get("entry")).value == b"x"
            assert cache._sentinels[0][1] == sentinel_set.sentinels[2].port


def test_without_redis_py_it_says_what_to_install():
    """The remedy, in one line."""
    scene = (
        "import sys; sys.modules['redis'] = None\n"
        "from tasker_health.errors import ConfigurationError\n"
        "try:\n    from tasker_health.cache.redis import redis_cache\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", scene], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("redis-py is not installed; pip install 'tasker-health[redis]'\n", "")


def test_it_shows_no_secret():
    """Neither as text nor in what a debugger shows of its address."""
    url = f"redis+sentinel://me:{canary.secret('cache')}@h/s?sentinel_password={canary.secret('sentinel')}"
    cache = redis_cache(url, timeout_seconds=1)
    assert isinstance(cache, RedisCache)
    canary.look("a cache", repr(cache), str(cache), repr(cache._address))
