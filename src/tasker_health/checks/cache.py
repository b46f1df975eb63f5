"""The check `cache`: does the cache that the fleet shares keep what is put into it? It never decides readiness."""

from __future__ import annotations

from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.deadline import within
from tasker_health.errors import CheckDegraded
from tasker_health.model import Reason

EVERY_SECONDS = 0.5
"""How often it is looked at most, however many ask: trouble, and its end, is seen within 2 s."""


class CacheCheck:
    """Puts something into *shared* and looks for it the next time.

    Args:
        shared: The cache.
        timeout_seconds: How long readiness waits for it.
        clock: Measures how long ago it was looked.
    """

    name = "cache"
    critical = False
    timed = True

    def __init__(self, shared: SharedCache, *, timeout_seconds: float, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._looked_at = -EVERY_SECONDS
        self._patience_seconds = timeout_seconds
        self.timeout_seconds: float | None = None

    async def __call__(self) -> None:
        """Look once in a while.

        Raises:
            CheckDegraded: It is in trouble: away, slow, full, read-only, evicting, or holding what is not ours.
        """
        now = self._clock.monotonic()
        if now - self._looked_at >= EVERY_SECONDS:
            self._looked_at = now
            try:
                await within(self._shared.probe(), self._patience_seconds)
            except TimeoutError:
                raise CheckDegraded(Reason.TIMEOUT) from None
        if self._shared.trouble is not None:
            raise CheckDegraded(self._shared.trouble)
