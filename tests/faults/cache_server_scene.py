"""Where caches that are servers of their own are in trouble: Redis, Valkey, sentinels, Memcached."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from typing import Any

import canary
from caches import MemcachedServer, RedisServer, SentinelSet, ValkeyServer
from contract.cache_backend import Recipe
from faults.cache_scene import PATIENCE_SECONDS, CacheScene
from server import wait_until


class RedisScene(CacheScene):
    """A Redis with a password, or what speaks as one."""

    def __init__(self, server: RedisServer | None = None, *, is_proxied: bool = False) -> None:
        super().__init__(server or RedisServer(password=canary.secret("cache")), is_proxied=is_proxied)

    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""
        (port,) = self.ports
        url = self.server.url.replace(f":{self.server.port}/", f":{port}/")
        return Recipe("tasker_health.cache.redis", "redis_cache", {"url": url, "timeout_seconds": timeout_seconds})

    def ask(self, *commands: tuple[Any, ...]) -> None:
        """Have the server do *commands*."""
        with self.server.client() as client:
            for command in commands:
                client.execute_command(*command)

    def empty(self) -> None:
        """Remove whatever it holds."""
        self.ask(("FLUSHALL",))

    def fill(self) -> None:
        """Allow it no memory at all, and nothing to evict."""
        self.ask(("CONFIG", "SET", "maxmemory", 1))

    def relieve(self) -> None:
        """Allow it any memory."""
        self.ask(("CONFIG", "SET", "maxmemory", 0))

    def overwork(self) -> None:
        """Have others put so much into it that what is put lies there for moments only."""
        with self.server.client() as client:
            used = client.info("memory")["used_memory"]
        self.ask(("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("CONFIG", "SET", "maxmemory", used + 500_000))
        client = self.server.client()

        def put() -> None:
            with contextlib.suppress(Exception):  # when there is nothing left to evict, it is full
                pipeline = client.pipeline(transaction=False)
                for _ in range(20):
                    pipeline.set(secrets.token_hex(8), b"x" * 20_000)
                pipeline.execute()

        self.repeat(put)

    def rest(self) -> None:
        """End what `overwork` began."""
        self.cease()
        self.ask(("CONFIG", "SET", "maxmemory", 0), ("FLUSHALL",))

    def demote(self) -> None:
        """Make it a replica, of nobody who is there."""
        self.ask(("REPLICAOF", "127.0.0.1", 1))

    def promote(self) -> None:
        """Make it a master again."""
        self.ask(("REPLICAOF", "NO", "ONE"))

    def change_password(self) -> None:
        """Give it another password, and send everybody away."""
        self._old_password, new = self.server.password, canary.secret("new-cache")
        self.ask(("CONFIG", "SET", "requirepass", new), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        self.server.password = new

    def restore_password(self) -> None:
        """Give it the old password."""
        self.ask(("CONFIG", "SET", "requirepass", self._old_password))
        self.server.password = self._old_password


class ValkeyScene(RedisScene):
    """A Valkey with a password."""

    def __init__(self, *, is_proxied: bool = False) -> None:
        super().__init__(ValkeyServer(password=canary.secret("cache")), is_proxied=is_proxied)


class SentinelScene(RedisScene):
    """A master, its replica and three sentinels, who elect it when the master is silent for half a second."""

    def __init__(self, *, is_proxied: bool = False, down_after_seconds: float = 0.5) -> None:
        self._set = SentinelSet(
            password=canary.secret("cache"),
            sentinel_password=canary.secret("sentinel"),
            down_after_seconds=down_after_seconds,
        )
        super().__init__(self._set.master, is_proxied=is_proxied)

    @property
    def ports(self) -> set[int]:
        """Where the application connects to."""
        return {each.port for each in (self._set.master, self._set.replica, *self._set.sentinels)}

    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""
        given = {"url": self._set.url, "timeout_seconds": timeout_seconds}
        return Recipe("tasker_health.cache.redis", "redis_cache", given)

    def lose_master(self) -> None:
        """Kill the master."""
        self._set.master.kill()

    def hang_master(self) -> None:
        """Let the master hang; another one is elected."""
        self._set.master.pause()

    def switch(self) -> None:
        """Have the sentinels make the replica the master: the old one stays, read-only."""
        self._set.sentinels[0].ask("SENTINEL", "FAILOVER", "tasker")

    def await_election(self) -> None:
        """Return once the replica is the master, and every sentinel says so."""
        replica = self._set.replica
        wait_until(lambda: self._set.elected() == replica.port, "the sentinels have elected the replica")
        wait_until(lambda: replica.ask("INFO", "replication")["role"] == "master", "it is the master")

    def close(self) -> None:
        """End all of them."""
        super().close()
        self._set.end()


class MemcachedScene(CacheScene):
    """A Memcached of few kinds of chunks, which can be filled fast; without *evicts* it says when it is full."""

    _SIZES = 200, 800

    def __init__(self, *, is_proxied: bool = False, evicts: bool = True) -> None:
        words = ("-m", "2", "-f", "4", *(() if evicts else ("-M",)))
        super().__init__(MemcachedServer(*words), is_proxied=is_proxied)

    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""
        (port,) = self.ports
        given = {"url": f"memcached://127.0.0.1:{port}", "timeout_seconds": timeout_seconds}
        return Recipe("tasker_health.cache.memcached", "memcached_cache", given)

    def empty(self) -> None:
        """Remove whatever it holds."""
        self.server.ask(b"flush_all")

    def fill(self) -> None:
        """Have others put so much into it that no chunk is left, and take at once what a refusal sets free."""
        self._put_much(3000)
        self.repeat(lambda: self._put_much(2), pause_seconds=0.001)

    def overwork(self) -> None:
        """Have others put so much into it that what is put lies there for moments only."""
        self.repeat(lambda: self._put_much(150))

    def rest(self) -> None:
        """End what `fill` or `overwork` began."""
        self.cease()
        self.empty()

    def _put_much(self, number: int) -> None:
        name = secrets.token_hex(4).encode()
        lines = b"".join(
            b"set %b-%d-%d 0 0 %d noreply\r\n%b\r\n" % (name, index, size, size, b"x" * size)
            for index in range(number)
            for size in self._SIZES
        )
        self._say(lines + b"mn\r\n", b"MN\r\n")

    def _say(self, words: bytes, last: bytes) -> None:
        """Say *words* and read answers up to the one that is *last*."""
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_SECONDS) as connection:
            sender = threading.Thread(target=connection.sendall, args=(words,), daemon=True)
            sender.start()
            tail = b""
            while not tail.endswith(last):
                piece = connection.recv(65536)
                assert piece, tail
                tail = (tail + piece)[-64:]
            sender.join(PATIENCE_SECONDS)
