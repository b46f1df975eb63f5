"""The cache of this process: a dictionary, for one process and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from tasker_health.cache import MOST_BYTES, Held
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

_MOST_KEYS = 1000


class _Kept(NamedTuple):
    """What lies under one key, and from when to when, on the monotonic clock."""

    value: bytes | str
    since: float
    until: float


class MemoryCache:
    """Keeps entries and leases in this process only; when there are too many keys, the oldest goes.

    Args:
        monotonic: The clock, in seconds that only grow.
    """

    name = "memory"
    coarse_seconds: float = 0.0

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}

    async def get(self, key: str) -> Held | None:
        """Return what lies under *key*, or `None`."""
        kept = self._alive(key)
        if kept is None:
            return None
        if isinstance(kept.value, str):
            raise CacheFault(Reason.INVALID, "there is a lease under this key")
        return Held(kept.value[: MOST_BYTES + 1], self._monotonic() - kept.since)

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep *value* under *key* for *keep_seconds*."""
        self._keep(key, value, keep_seconds)

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Return whether *holder* has the lease *key* for *seconds* from now on."""
        kept = self._alive(key)
        if kept is not None and kept.value != holder:
            return False
        self._keep(key, holder, seconds)
        return True

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it."""
        kept = self._alive(key)
        if kept is not None and kept.value == holder:
            del self._kept[key]

    async def close(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def _alive(self, key: str) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None or self._monotonic() < kept.until:
            return kept
        del self._kept[key]
        return None

    def _keep(self, key: str, value: bytes | str, seconds: float) -> None:
        self._kept.pop(key, None)  # so that the first key is the oldest
        if len(self._kept) >= _MOST_KEYS:
            del self._kept[next(iter(self._kept))]
        now = self._monotonic()
        self._kept[key] = _Kept(value, now, now + seconds)
