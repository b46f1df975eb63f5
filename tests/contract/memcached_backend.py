"""The cache in Memcached, as the suite of caches must know it: a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from caches import MemcachedServer
from contract.cache_backend import PATIENCE_SECONDS, Recipe, ServerBackend
from tasker_health.cache.memcached_ticks import ENTRY, LEASE, life


class MemcachedBackend(ServerBackend):
    """One Memcached. How much of a value it has sent is not known: it writes all of it at once, and we hang up."""

    def __init__(self) -> None:
        self.server = MemcachedServer()

    def recipe(self, timeout_seconds: float = PATIENCE_SECONDS) -> Recipe:
        """Return how a process makes a client."""
        given = {"url": self.server.url, "timeout_seconds": timeout_seconds}
        return Recipe("tasker_health.cache.memcached", "memcached_cache", given)

    def clear(self) -> None:
        """Remove everything."""
        self.server.ask(b"flush_all")

    def put_raw(self, key: str, value: bytes, keep_seconds: float | None) -> None:
        """Lay *value* under *key* as another program would, which knows nothing of our flags."""
        ends_in = 0 if keep_seconds is None else max(1, round(keep_seconds))
        self.server.ask(b"set %b 0 %d %d" % (key.encode(), ends_in, len(value)), value)

    @property
    def oddities(self) -> Mapping[str, Callable[[str], None]]:
        """What others put, a lease, and an entry of ours to which somebody has given another end, or none."""

        def lay(value: bytes, flags: int, ends_in: int) -> Callable[[str], None]:
            return lambda key: self.server.ask(
                b"set %b %d %d %d" % (key.encode(), flags, ends_in, len(value)), value
            ).decode()

        def flags(kind: int) -> int:
            return int(life(60, kind).rpartition("F")[2])

        return {
            "words": lay(b"somebody else's words", 0, 60),
            "nothing": lay(b"", 0, 60),
            "other flags": lay(b"x", 0xFFFFFFFF, 60),
            "lease": lay(b"somebody", flags(LEASE), 60),
            "touched": lay(b"x", flags(ENTRY), 600),
            "for ever": lay(b"x", flags(ENTRY), 0),
        }
