"""The cache of this process: a dictionary with one entry a source."""

from __future__ import annotations

from tasker_health.cache import Entry


class Entries:
    """Keeps entries in this process only; its size is bounded by the number of sources."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    async def get(self, key: str) -> Entry | None:
        """Return the entry of *key*, however old, or `None`."""
        return self._entries.get(key)

    async def put(self, key: str, entry: Entry) -> None:
        """Keep *entry* under *key*."""
        self._entries[key] = entry

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
