"""A clock that a test moves."""

from __future__ import annotations


class FakeClock:
    """A clock that stands still until it is told to move: `Health(clock=FakeClock())`.

    It measures ages and durations. Deadlines are kept by the event loop, in real time.

    Args:
        now: Where it begins, in seconds since the Unix epoch.

    Attributes:
        time: The wall-clock time; set it alone to have somebody set the machine's clock.
        running: The monotonic time.
    """

    def __init__(self, now: float = 1_750_260_600.0) -> None:
        self.time: float = now
        self.running: float = 100.0

    def now(self) -> float:
        """Return the wall-clock time, in seconds since the Unix epoch."""
        return self.time

    def monotonic(self) -> float:
        """Return the monotonic time, in seconds."""
        return self.running

    def move(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.time += seconds
        self.running += seconds
