"""The heartbeat of an event loop: written by the loop itself, so that it stops when the loop does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tasker_health.guard.memory import Slot

_REMEMBERED_SECONDS = 5.0


class Heartbeat:
    """Beats on the running event loop, in a slot of the guard's memory if there is one.

    Args:
        period_seconds: How often.
        warning_seconds: From which lag on the loop is said to lag.
    """

    def __init__(self, period_seconds: float, warning_seconds: float) -> None:
        self._slot: Callable[[], Slot | None] = lambda: None
        self._period = period_seconds
        self._warning = warning_seconds
        self._due = 0.0
        self._lagged_at = -_REMEMBERED_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self.lag_seconds: float = 0.0

    @property
    def lags(self) -> bool:
        """Whether the loop was late by more than the warning within the last seconds."""
        return time.monotonic() - self._lagged_at < _REMEMBERED_SECONDS

    @property
    def late_seconds(self) -> float:
        """For how long the loop has not turned although it should have; any thread may ask."""
        return max(self.lag_seconds, time.monotonic() - self._due) if self._timer is not None else 0.0

    def start(self, slot: Callable[[], Slot | None]) -> None:
        """Begin on the running event loop; *slot* answers where to beat now, or `None` while there is no guard."""
        if self._timer is None:
            self._slot = slot
            self._due = time.monotonic()
            self._beat()

    def go_on(self) -> None:
        """Beat again if the next beat is long overdue: there was no memory to have it called."""
        if self._timer is not None and time.monotonic() - self._due > self._period:
            self._timer.cancel()
            self._beat()

    def stop(self) -> None:
        """End it; the slot is left to its owner."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        now = time.monotonic()
        # Before anything that could fail for want of memory: it must not be the last beat.
        self._timer = asyncio.get_running_loop().call_later(self._period, self._beat)
        self.lag_seconds = max(0.0, now - self._due)
        if self.lag_seconds > self._warning:
            self._lagged_at = now
        slot = self._slot()
        if slot is not None:
            slot.beat(int(self.lag_seconds * 1e9))
        self._due = now + self._period
