"""How fast a cache is from here: to connect, to write, to read back, and with the largest entry that there may be."""

from __future__ import annotations

import math
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable

from tasker_health.cache import MOST_BYTES
from tasker_health.cli.doctor.cache_asking import KEEP_SECONDS, Asking
from tasker_health.cli.doctor.findings import Finding, warning

_CONNECTS = 5
_ROUNDS = 50
_ROUNDS_SECONDS = 2.0
"""A slow cache is asked less often."""

_BYTES = 2048
"""About what the entry of one source has."""

_SOON_SECONDS = 1.0


class CacheSpeed:
    """Measures how fast a cache is.

    Args:
        asking: Asks it.
        timeout_seconds: How long an answer may take in the service.
    """

    def __init__(self, asking: Asking, timeout_seconds: float) -> None:
        self._asking = asking
        self._timeout_seconds = timeout_seconds

    async def connect(self) -> Finding:
        """Tell how long the first question of a fresh client takes."""
        asking = self._asking
        took: list[float] = []
        ends_at = time.perf_counter() + _ROUNDS_SECONDS
        while len(took) < _CONNECTS and time.perf_counter() < ends_at:
            client = asking.opened()
            began = time.perf_counter()
            try:
                await asking.ask(client.get(asking.key("entry")))
            finally:
                took.append(time.perf_counter() - began)
                await asking.close(client)
        median = statistics.median(took)
        words = f"first answer to a fresh client: median {_words(median)} of {len(took)}"
        return self._judged("connect", words, max(took), {"median_ms": _milliseconds(median)})

    async def write(self) -> Finding:
        """Tell how long it takes to put an entry."""
        one, key = self._asking.one, self._asking.key("entry")
        return self._as_percentiles("write", await self._timed(lambda: one.put(key, _some(_BYTES), KEEP_SECONDS)))

    async def read_back(self) -> Finding:
        """Tell how long it takes one client to read what another one has put, and whether that comes back."""
        asking, put, lost, changed = self._asking, _some(_BYTES), 0, 0
        key = asking.key("entry")
        await asking.ask(asking.one.put(key, put, KEEP_SECONDS))

        async def read() -> None:
            nonlocal lost, changed
            held = await asking.other.get(key)
            lost += held is None
            changed += held is not None and held.value != put

        took = await self._timed(read)
        if lost or changed:
            words = f"of {len(took)} readings {lost} found nothing, and {changed} other bytes than were put"
            remedy = "several servers behind one address, evictions, or somebody who empties it: name one server"
            return warning("read back", words, remedy, {"lost": lost, "changed": changed})
        return self._as_percentiles("read back", took)

    async def largest(self) -> Finding:
        """Tell whether an entry of the largest size is kept."""
        asking, put = self._asking, _some(MOST_BYTES)
        key = asking.key("largest")
        began = time.perf_counter()
        await asking.ask(asking.one.put(key, put, KEEP_SECONDS))
        held = await asking.ask(asking.other.get(key))
        took = time.perf_counter() - began
        await asking.ask(asking.one.put(key, b"", _SOON_SECONDS))
        if held is None or held.value != put:
            words = f"an entry of {MOST_BYTES // 1024} KiB is not kept as it was put"
            return warning("largest", words, "give it more memory: Redis maxmemory, Memcached -m and -I")
        words = f"{MOST_BYTES // 1024} KiB written and read back in {_words(took)}"
        figures = {"bytes": float(MOST_BYTES), "both_ms": _milliseconds(took)}
        return Finding(what="largest", measured=words, figures=figures)

    async def _timed(self, question: Callable[[], Awaitable[None]]) -> list[float]:
        """Return how long *question* took each time, in seconds."""
        took: list[float] = []
        ends_at = time.perf_counter() + _ROUNDS_SECONDS
        while len(took) < _ROUNDS and time.perf_counter() < ends_at:
            began = time.perf_counter()
            await self._asking.ask(question())
            took.append(time.perf_counter() - began)
        return took

    def _as_percentiles(self, what: str, took: list[float]) -> Finding:
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        words = f"p50 {_words(p50)}, p99 {_words(p99)} of {len(took)} times {_BYTES // 1024} KiB"
        return self._judged(what, words, p99, {"p50_ms": _milliseconds(p50), "p99_ms": _milliseconds(p99)})

    def _judged(self, what: str, words: str, slow: float, figures: dict[str, float]) -> Finding:
        """Return a finding that is a warning when *slow* is more than half of what an answer may take."""
        if slow <= self._timeout_seconds / 2:
            return Finding(what=what, measured=words, figures=figures)
        words += f": more than half of cache.timeout_seconds, {self._timeout_seconds:g}"
        enough = math.ceil(slow * 2 * 20) / 20
        return warning(what, words, f"bring the cache nearer, or set cache.timeout_seconds = {enough:g}", figures)


def percentile(took: list[float], share: float) -> float:
    """Return the least of *took* that *share* of them do not exceed."""
    return sorted(took)[math.ceil(share * len(took)) - 1]


def _some(size: int) -> bytes:
    return secrets.token_bytes(size)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _words(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
