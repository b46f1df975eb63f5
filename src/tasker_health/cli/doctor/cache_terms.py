"""What a cache does with time: how it tells an age, and whether leases and entries end by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tasker_health.cli.doctor.cache_asking import KEEP_SECONDS, Asking
from tasker_health.cli.doctor.findings import Finding, warning

_POLL_SECONDS = 0.02

_SLACK_SECONDS = 0.1
"""How far apart two clocks that both go right may be after a second or two, on a busy machine."""

_LATE_SECONDS = 1.5
"""How late what ends by itself is still waited for."""

_EVICTS = "it forgets before the time is over: give it more memory, or a server of its own"
_NO_LEASES = "several processes would read for the fleet at once, or none: name one server, the primary"


class CacheTerms:
    """Measures what a cache does with time.

    Args:
        asking: Asks it.
        seconds: How long what is to end by itself is given.
    """

    def __init__(self, asking: Asking, seconds: float) -> None:
        self._asking = asking
        self._seconds = seconds

    async def age(self) -> Finding:
        """Tell whether the age of an entry, by the cache's clock, is the time that has passed."""
        asking, key = self._asking, self._asking.key("aged")
        before = time.monotonic()
        await asking.ask(asking.one.put(key, b"x", KEEP_SECONDS))
        after = time.monotonic()
        await asyncio.sleep(self._seconds)
        passed = time.monotonic() - after
        held = await asking.ask(asking.other.get(key))
        most = time.monotonic() - before
        await asking.ask(asking.one.put(key, b"", self._seconds))
        if held is None:
            return warning("age", f"gone {passed:.2f} s after it was put for {KEEP_SECONDS} s", _EVICTS)
        coarse = asking.one.coarse_seconds
        words = f"{held.age_seconds:.2f} s by its clock after {passed:.2f} s"
        words += f", rounded up by at most {coarse:g} s" if coarse > _SLACK_SECONDS else ""
        figures = {"told_seconds": round(held.age_seconds, 3), "true_seconds": round(passed, 3)}
        if passed - _SLACK_SECONDS <= held.age_seconds <= most + coarse + _SLACK_SECONDS:
            return Finding(what="age", measured=words, figures=figures)
        return warning("age", words, "its clock does not go as time does: look at the clock of its machine", figures)

    async def lease(self) -> Finding:
        """Tell whether one has a lease at a time, and for its term."""
        asking, key = self._asking, self._asking.key("lease")
        if not await asking.ask(asking.one.acquire(key, "one", KEEP_SECONDS)):
            return warning("lease", "refused, although nobody has it", _NO_LEASES)
        if await asking.ask(asking.other.acquire(key, "other", KEEP_SECONDS)):
            return warning("lease", "granted to two at once", _NO_LEASES)
        await asking.ask(asking.one.release(key, "one"))
        began = time.monotonic()
        if not await asking.ask(asking.other.acquire(key, "other", self._seconds)):
            return warning("lease", "refused, although it was given up", _NO_LEASES)
        lasted = await self._until(lambda: asking.one.acquire(key, "one", self._seconds), began)
        if lasted is None:
            await asking.ask(asking.other.release(key, "other"))
            return warning("lease", f"granted for {self._seconds:g} s, and does not run out", _NO_LEASES)
        await asking.ask(asking.one.release(key, "one"))
        words = f"granted, refused to another, given up; one of {self._seconds:g} s ran out after {lasted:.2f} s"
        if lasted < self._seconds - _SLACK_SECONDS:
            return warning("lease", words, _NO_LEASES)
        return Finding(what="lease", measured=words, figures={"ran_out_seconds": round(lasted, 3)})

    async def expiry(self) -> Finding:
        """Tell whether an entry ends by itself, and not before."""
        asking, key = self._asking, self._asking.key("short")
        began = time.monotonic()
        await asking.ask(asking.one.put(key, b"x", self._seconds))

        async def is_gone() -> bool:
            return await asking.other.get(key) is None

        lasted = await self._until(is_gone, began)
        if lasted is None:
            words = f"kept for {self._seconds:g} s, and does not go"
            return warning("expiry", words, "what is old would fill it: name a server that ends entries")
        words = f"kept for {self._seconds:g} s, gone after {lasted:.2f} s"
        if lasted < self._seconds - _SLACK_SECONDS:
            return warning("expiry", words, _EVICTS)
        return Finding(what="expiry", measured=words, figures={"gone_seconds": round(lasted, 3)})

    async def _until(self, condition: Callable[[], Awaitable[bool]], began: float) -> float | None:
        """Return how long after *began* the *condition* came true; `None`: not in time."""
        most = self._seconds + self._asking.one.coarse_seconds + _LATE_SECONDS
        while not await self._asking.ask(condition()):
            if time.monotonic() - began > most:
                return None
            await asyncio.sleep(_POLL_SECONDS)
        return time.monotonic() - began
