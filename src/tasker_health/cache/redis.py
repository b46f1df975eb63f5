"""The cache in a Redis or Valkey: alone, or found through sentinels.

One connection, opened at the first question. An entry is a string of ours: a mark, for how many milliseconds it was to
be kept, and the value; its age is what of that the server's own clock has used up, by the time that its key has left.
What is left of its time is asked before its value: a new value that comes in between may look older, never younger.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_health.cache import MOST_BYTES, Cache, Held
from tasker_health.cache.redis_connection import RedisConnection
from tasker_health.cache.redis_faults import NOT_REDIS, fault_of, is_refusal
from tasker_health.cache.redis_url import Address, Credentials, address_of
from tasker_health.deadline import leave_to_parent
from tasker_health.errors import CacheFault, SettingsError
from tasker_health.model import Reason
from tasker_health.resolver import Resolver

Question = Callable[[RedisConnection], Awaitable[Any]]

_HEAD = struct.Struct(">4sQ")
_MARK = b"th1\n"
_LAST_BYTE = _HEAD.size + MOST_BYTES

# What is kept ends at a moment of the server's clock, which was asked for first: a server that has hung does, when it
# goes on, what it was told before, and would begin to count only then.
_PUT = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('PEXPIREAT', KEYS[1], ARGV[2]) return 1"
_ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and redis.call('PTTL', KEYS[1]) < 0 then return -1 end
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

_NO_KEY = -2


def redis_cache(url: str, *, timeout_seconds: float, ca_file: str | None = None) -> Cache:
    """Return the cache at *url*: `redis://`, `rediss://`, `valkey://`, `valkeys://`, or one of them with `+sentinel`.

    Args:
        url: Where it is, and who we are there.
        timeout_seconds: Longest time of one question, connecting included.
        ca_file: PEM file of who signs its certificate; `None`: who the machine trusts.

    Raises:
        SettingsError: The URL is not one, or the file cannot be read.
        ConfigurationError: redis-py is not installed.
    """
    return redis_connection_at(url, timeout_seconds=timeout_seconds, ca_file=ca_file)


def redis_connection_at(url: str, *, timeout_seconds: float, ca_file: str | None = None) -> RedisCache:
    """Return the same, for who asks questions of his own there."""
    address = address_of(url)
    return RedisCache(address, timeout_seconds, _tls(ca_file) if address.is_tls else None)


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        raise SettingsError("cache.tls_ca_file", repr(ca_file), "a PEM file of certificates that can be read") from None


class RedisCache:
    """Keeps entries and leases in a Redis or Valkey.

    Args:
        address: Where it is.
        timeout_seconds: Longest time of one question, connecting included.
        tls: How certificates are verified.
    """

    name = "redis"
    coarse_seconds: float = 0.002

    def __init__(self, address: Address, timeout_seconds: float, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._tls = tls
        secrets = (address.credentials.password, address.sentinel_credentials.password)
        self._secrets = tuple(secret for secret in secrets if secret)
        self._sentinels = list(address.hosts)
        self._connection: RedisConnection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._turn = asyncio.Lock()
        self._resolver = Resolver()

    async def get(self, key: str) -> Held | None:
        """Return what lies under *key*, or `None`."""
        # Not a script, which copies the value twice more; not a transaction, which a full server refuses.
        commands = ("PTTL", key), ("GETRANGE", key, 0, _LAST_BYTE)
        match await self.ask(lambda connection: connection.ask_in_a_row(*commands)):
            case [int(left), bytes(entry)]:
                return _held(left, entry)
        raise self._misunderstood()

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep *value* under *key* for *keep_seconds*."""
        milliseconds = _milliseconds(keep_seconds)
        entry = _HEAD.pack(_MARK, milliseconds) + value

        async def question(connection: RedisConnection) -> Any:
            return await connection.ask("EVAL", _PUT, 1, key, entry, await _time(connection) + milliseconds)

        if await self.ask(question) != 1:
            raise self._misunderstood()

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Return whether *holder* has the lease *key* for *seconds* from now on."""

        async def question(connection: RedisConnection) -> Any:
            ends_at = await _time(connection) + _milliseconds(seconds)
            return await connection.ask("EVAL", _ACQUIRE, 1, key, holder, ends_at)

        reply = await self.ask(question)
        if reply == -1:
            raise CacheFault(Reason.INVALID, "under the key of the lease lies what has no end of its time")
        if reply not in (0, 1):
            raise self._misunderstood()
        return bool(reply)

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it."""
        reply = await self.ask(lambda connection: connection.ask("EVAL", _RELEASE, 1, key, holder))
        if reply not in (0, 1):
            raise self._misunderstood()

    async def now(self) -> float:
        """Return the server's clock, in seconds since the epoch.

        Raises:
            CacheFault: It cannot be asked.
        """
        milliseconds: int = await self.ask(_time)
        return milliseconds / 1000

    async def close(self) -> None:
        """Close the connection."""
        self._begin_anew_elsewhere(asyncio.get_running_loop())
        self._drop()
        await asyncio.sleep(0)  # the turn of the loop in which the socket is closed

    async def ask(self, question: Question) -> Any:
        """Return the reply to *question* on the one connection.

        Raises:
            CacheFault: There is none in time, or it is a refusal.
        """
        self._begin_anew_elsewhere(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(self._timeout_seconds), self._turn:
                return await self._ask_in_turn(question)
        except Exception as error:  # noqa: BLE001 -- what is read from a port may end in any of them
            raise fault_of(error, self._secrets) from None

    async def _ask_in_turn(self, question: Question) -> Any:
        connection = await self._usable()
        try:
            return await question(connection)
        except BaseException as error:
            # Above all when cancelled: the reply to this question may still come, and is not the next one's.
            if not is_refusal(error):
                self._drop()
            raise

    async def _usable(self) -> RedisConnection:
        """Return the connection, a new one if there is none that is good."""
        if self._connection is not None and self._connection.is_usable:
            return self._connection
        self._drop()
        here = self._address
        host, port = here.hosts[0] if here.service is None else await self._master(here.service)
        self._connection = await self._connected(host, port, here.credentials, here.database)
        return self._connection

    async def _connected(self, host: str, port: int, credentials: Credentials, database: int) -> RedisConnection:
        await self._resolver.resolve(host)
        connection = RedisConnection(host, port, credentials, database, self._tls)
        await connection.open()
        return connection

    async def _master(self, service: str) -> tuple[str, int]:
        """Return where the master is, by the first sentinel that says so; one that hangs has its share of the time."""
        share_seconds = self._timeout_seconds / (len(self._sentinels) + 1)
        fault: Exception = CacheFault(Reason.MISSING)
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(share_seconds):
                    master = await self._said_by(sentinel, service)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the next one may know
                fault = error
            else:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return master
        raise fault

    async def _said_by(self, sentinel: tuple[str, int], service: str) -> tuple[str, int]:
        connection = await self._connected(*sentinel, self._address.sentinel_credentials, 0)
        try:
            reply = await connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        finally:
            connection.drop()
        match reply:
            case [bytes(host), bytes(port)]:
                return host.decode(), int(port)
            case None:
                raise CacheFault(Reason.MISSING, "the sentinels know no service of the name in cache.url")
        raise CacheFault(Reason.INVALID, NOT_REDIS)

    def _begin_anew_elsewhere(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave the connection behind when this is another event loop than its own, or another process."""
        if loop is self._loop:
            return
        connection, self._connection = self._connection, None
        if os.getpid() != self._pid:
            leave_to_parent((connection, self._loop))
        elif connection is not None and self._loop is not None:
            connection.abandon(self._loop)
        self._loop, self._pid, self._turn, self._resolver = loop, os.getpid(), asyncio.Lock(), Resolver()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()

    def _misunderstood(self) -> CacheFault:
        """Return the fault of a reply that no Redis gives to what was asked."""
        self._drop()
        return CacheFault(Reason.INVALID, NOT_REDIS)


async def _time(connection: RedisConnection) -> int:
    """Return the server's clock, in milliseconds since the epoch."""
    match await connection.ask("TIME"):
        case [bytes(seconds), bytes(microseconds)]:
            return int(seconds) * 1000 + int(microseconds) // 1000
    raise CacheFault(Reason.INVALID, NOT_REDIS)


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _held(left: int, entry: bytes) -> Held | None:
    """Return the value in *entry*, whose key has *left* milliseconds left; both moments were cut to milliseconds."""
    if left == _NO_KEY or (left >= 0 and not entry):
        return None  # in the second case its time has ended in between
    mark, kept = _HEAD.unpack_from(entry) if len(entry) >= _HEAD.size else (b"", 0)
    if mark != _MARK or not 0 <= left <= kept:
        raise CacheFault(Reason.INVALID, "under the key lies what is not ours, or has no end of its time")
    return Held(entry[_HEAD.size :], (kept - left + 1) / 1000)
