"""What the suite of caches must know of each cache: how to ask it, how to reach past its client, how to disturb it.

Add one by a subclass here, or in a file of its own, and its line in `CACHES` of `test_caches.py`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import canary
from caches import RedisServer, SentinelSet, ValkeyServer
from certificates import Authority
from server import Server
from tasker_health.cache import Cache
from tasker_health.cache.memory import MemoryCache

PATIENCE_SECONDS = 30


class Recipe(NamedTuple):
    """How a client is made, in this process or in another one: a function, and its arguments, which JSON can hold."""

    module: str
    function: str
    arguments: dict[str, Any]

    def cook(self) -> Cache:
        """Return a new client."""
        cache: Cache = getattr(importlib.import_module(self.module), self.function)(**self.arguments)
        return cache


class CacheBackend(ABC):
    """One cache, empty at the start of each test.

    Attributes:
        longest_raw: How long a value may lie there that another program has put there.
    """

    longest_raw = 900_000

    @abstractmethod
    def cache(self, timeout_seconds: float = PATIENCE_SECONDS) -> Cache:
        """Return a new client."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything."""

    @abstractmethod
    def put_raw(self, key: str, value: bytes, keep_seconds: float | None) -> None:
        """Lay *value* under *key*, as another program would; `None`: without an end."""

    @property
    def oddities(self) -> Mapping[str, Callable[[str], None]]:
        """What may lie under a key and is not ours, by its name: each lays it there; asking must be `invalid`."""
        return {}

    def heal(self) -> None:  # noqa: B027 -- nothing to do is the common case
        """Make it answer again, whatever a test that failed has left."""

    def end(self) -> None:  # noqa: B027 -- as above
        """End everything, for good; works whatever state it is in."""


class SharedBackend(CacheBackend):
    """A cache with a server of its own, which can be away, and which processes share."""

    @abstractmethod
    def recipe(self, timeout_seconds: float = PATIENCE_SECONDS) -> Recipe:
        """Return how a process makes a client."""

    def cache(self, timeout_seconds: float = PATIENCE_SECONDS) -> Cache:
        """Return a new client."""
        return self.recipe(timeout_seconds).cook()

    def sent_bytes(self) -> int | None:
        """Return how many bytes the server has sent so far to whomever; `None`: it does not count them."""
        return None

    @abstractmethod
    def pause(self) -> None:
        """Let the server hang: connections stay open and nothing answers."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on."""

    @abstractmethod
    def stop(self) -> None:
        """End the server; who is connected is disconnected."""

    @abstractmethod
    def start(self) -> None:
        """Start it again where it was; what it held may be lost."""


class ServerBackend(SharedBackend):
    """A cache whose server is one process.

    Attributes:
        server: That process.
    """

    server: Server

    def pause(self) -> None:
        """Let it hang."""
        self.server.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.server.resume()

    def stop(self) -> None:
        """End it."""
        self.server.stop()

    def start(self) -> None:
        """Start it again."""
        self.server.start()

    def heal(self) -> None:
        """Let it answer."""
        self.server.resume()
        if not self.server.running:
            self.server.start()

    def end(self) -> None:
        """End it for good."""
        self.server.end()


class MemoryBackend(CacheBackend):
    """The cache of one process: its clients are one and the same."""

    def __init__(self) -> None:
        self._cache = MemoryCache()

    def cache(self, timeout_seconds: float = PATIENCE_SECONDS) -> Cache:
        """Return the cache."""
        return self._cache

    def clear(self) -> None:
        """Forget everything."""
        self._cache._kept.clear()

    def put_raw(self, key: str, value: bytes, keep_seconds: float | None) -> None:
        """Lay *value* under *key*; everything has an end here."""
        self._cache._keep(key, value, 3600 if keep_seconds is None else keep_seconds)

    @property
    def oddities(self) -> Mapping[str, Callable[[str], None]]:
        """A lease where an entry is looked for."""
        return {"lease": lambda key: self._cache._keep(key, "somebody", 60)}


class RedisBackend(ServerBackend):
    """A Redis, or what speaks as one."""

    longest_raw = 20_000_000

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def recipe(self, timeout_seconds: float = PATIENCE_SECONDS) -> Recipe:
        """Return how a process makes a client."""
        given = {"url": self.server.url, "timeout_seconds": timeout_seconds, "ca_file": self.server.ca_file}
        return Recipe("tasker_health.cache.redis", "redis_cache", given)

    def clear(self) -> None:
        """Remove everything."""
        self.server.ask("FLUSHALL")

    def put_raw(self, key: str, value: bytes, keep_seconds: float | None) -> None:
        """Lay a string under *key*."""
        end = () if keep_seconds is None else ("PX", round(keep_seconds * 1000))
        self.server.ask("SET", key, value, *end)

    @property
    def oddities(self) -> Mapping[str, Callable[[str], None]]:
        """Other types, strings of others, and an entry of ours that somebody has made to stay."""
        ask = self.server.ask

        def with_an_end(*command: str) -> Callable[[str], None]:
            def lay(key: str) -> None:
                ask(command[0], key, *command[1:])
                ask("PEXPIRE", key, 60_000)

            return lay

        return {
            "list": with_an_end("LPUSH", "a"),
            "hash": with_an_end("HSET", "a", "b"),
            "set": with_an_end("SADD", "a"),
            "number": with_an_end("SET", "1"),
            "words": with_an_end("SET", "somebody else's words"),
            "for ever": lambda key: ask("SET", key, "somebody else's words"),
        }

    def sent_bytes(self) -> int | None:
        """Return what it has sent to clients, this question's excluded."""
        return int(self.server.ask("INFO", "stats")["total_net_output_bytes"])


class SentinelBackend(RedisBackend):
    """A master found through sentinels, which stay when it hangs or stops; nobody is elected in so short a time."""

    def __init__(self) -> None:
        # They would elect the replica while a test lets the master hang.
        self._set = SentinelSet(
            password=canary.secret("cache"), sentinel_password=canary.secret("sentinel"), down_after_seconds=600
        )
        super().__init__(self._set.master)

    def recipe(self, timeout_seconds: float = PATIENCE_SECONDS) -> Recipe:
        """Return how a process makes a client."""
        given = {"url": self._set.url, "timeout_seconds": timeout_seconds}
        return Recipe("tasker_health.cache.redis", "redis_cache", given)

    def sent_bytes(self) -> int | None:
        """Return nothing: it sends to its replica too."""
        return None

    def end(self) -> None:
        """End all of them."""
        self._set.end()


def redis_backend() -> SharedBackend:
    """Return a plain Redis."""
    return RedisBackend(RedisServer())


def valkey_backend() -> SharedBackend:
    """Return a plain Valkey."""
    return RedisBackend(ValkeyServer())


def secure_backend() -> SharedBackend:
    """Return a Redis with a password and TLS."""
    return RedisBackend(RedisServer(password=canary.secret("cache"), authority=Authority()))
