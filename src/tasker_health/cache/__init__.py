"""The room of caches: where the facts of a source wait until they are too old.

A cache holds entries by key. The rules for whoever writes one: `get` answers the entry or `None` and never raises
for an entry that is not ours; `put` may lose an entry, but never mix two; neither blocks the loop.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from tasker_health.model import Facts


class Entry(Struct, frozen=True):
    """Facts and when they were read.

    Attributes:
        facts: What was read.
        read_at: Wall-clock time of the reading, seconds since the epoch, for people.
        read_at_monotonic: The same moment on the monotonic clock of this process, for measuring age.
    """

    facts: Facts
    read_at: float
    read_at_monotonic: float


class Cache(Protocol):
    """Keeps entries by key."""

    async def get(self, key: str) -> Entry | None:
        """Return the entry of *key*, however old, or `None`."""

    async def put(self, key: str, entry: Entry) -> None:
        """Keep *entry* under *key*, in place of an older one."""

    async def close(self) -> None:
        """Give up connections."""
