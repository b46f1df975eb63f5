"""Where caches are in trouble: one server, perhaps a proxy before it, and what can be done to both."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from contract.cache_backend import Recipe
from faults.cache_stranger import Stranger
from faulty_proxy import FaultyProxy
from tasker_health.cache import Cache

PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.01


class CacheScene(ABC):
    """A cache that an application is given, and its troubles.

    Args:
        server: What it runs on.
        is_proxied: Whether the application reaches it through a proxy.

    Attributes:
        server: The same.
        proxy: What stands before it, or nothing.
        key: Under which the application keeps its facts there.
        more_connections: How many more than it has at first a process may open when it asks several things at once.
    """

    key = ""
    more_connections = 0

    def __init__(self, server: Any, *, is_proxied: bool = False) -> None:
        self.server = server
        self.proxy = FaultyProxy(server.port) if is_proxied else None
        self._stranger: Stranger | None = None
        self._repeating: threading.Thread | None = None
        self._ceased = threading.Event()
        self._errors: list[Exception] = []

    @property
    def ports(self) -> set[int]:
        """Where the application connects to."""
        return {self.proxy.port if self.proxy else self.server.port}

    def connections(self) -> int:
        """Return how many connections to it the application has, in whatever state."""
        inodes = set()
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(each.readlink()).removeprefix("socket:[").removesuffix("]"))
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[9] in inodes and int(row[2].rpartition(":")[2], 16) in self.ports for row in rows)

    @abstractmethod
    def recipe(self, timeout_seconds: float) -> Recipe:
        """Return how a client for the application is made."""

    def cache(self, timeout_seconds: float) -> Cache:
        """Return a client for the application."""
        return self.recipe(timeout_seconds).cook()

    @abstractmethod
    def empty(self) -> None:
        """Remove whatever it holds."""

    def restart(self) -> None:
        """End it and start it again; it holds nothing then."""
        self.server.stop()
        self.server.start()

    def let_stranger_answer(self, words: bytes, *, speaks_first: bool) -> None:
        """Have a program that says *words* take the server's place behind the proxy."""
        self._stranger = Stranger(words, speaks_first=speaks_first)
        self.proxy.forward_to(self._stranger.port)
        self.proxy.set("reset")
        self.proxy.set("pass")

    def dismiss_stranger(self) -> None:
        """Have the server answer again."""
        self.proxy.forward_to(self.server.port)
        self.proxy.set("reset")
        self.proxy.set("pass")
        self._stranger.close()

    def repeat(self, action: Callable[[], object], pause_seconds: float = PAUSE_SECONDS) -> None:
        """Do *action* again and again until `cease`."""

        async def act() -> None:
            action()

        self._repeat(act, pause_seconds=pause_seconds)

    def put_always(self, key: str, value: bytes) -> None:
        """Have *value* put under *key* again and again until `cease`, by a client of ours that knows no better."""
        cache = self.recipe(PATIENCE_SECONDS).cook()
        self._repeat(lambda: cache.put(key, value, 60), cache)

    def _repeat(
        self, act: Callable[[], Awaitable[None]], cache: Cache | None = None, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        begun = threading.Event()

        async def repeat() -> None:
            try:
                while not self._ceased.is_set():
                    await act()
                    begun.set()
                    await asyncio.sleep(pause_seconds)
            finally:
                if cache is not None:
                    await cache.close()

        def run() -> None:
            try:
                asyncio.run(repeat())
            except Exception as error:
                self._errors.append(error)
            begun.set()

        self._ceased.clear()
        self._repeating = threading.Thread(target=run, daemon=True)
        self._repeating.start()
        assert begun.wait(PATIENCE_SECONDS)

    def cease(self) -> None:
        """End what is repeated; what failed in it fails here."""
        self._ceased.set()
        self._repeating.join(PATIENCE_SECONDS)
        if self._errors:
            raise self._errors[0]

    def close(self) -> None:
        """End everything, whatever state it is in."""
        self._ceased.set()
        if self._repeating is not None:
            self._repeating.join(PATIENCE_SECONDS)
        if self._stranger is not None:
            self._stranger.close()
        if self.proxy is not None:
            self.proxy.close()
        self.server.end()
