"""The clock: what time it is, and how long something took. Tests pass their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells wall-clock time for people and monotonic time for measuring."""

    def now(self) -> float:
        """Return seconds since the Unix epoch; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Return seconds that only grow; the only time that durations are made from."""


class SystemClock:
    """The clock of this machine."""

    now: staticmethod[[], float] = staticmethod(time.time)
    monotonic: staticmethod[[], float] = staticmethod(time.monotonic)


def timestamp(epoch_seconds: float) -> datetime:
    """Return *epoch_seconds* as a UTC datetime in whole seconds, as RFC 3339 with `Z` needs it."""
    return datetime.fromtimestamp(int(epoch_seconds), UTC)
