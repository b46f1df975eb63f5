"""The time that slots are numbered on: one for the whole fleet, whatever the clocks of its machines say."""

from __future__ import annotations

import math

from tasker_health.cache.sealing import CLOCK_TOLERANCE_SECONDS
from tasker_health.clock import Clock


class Era:
    """Time as one process has it: seconds that only grow, which begin as those since the epoch.

    It goes on with the monotonic clock, so that a wall clock that is set moves no slot, and follows the time that a
    shared document was written on.

    Args:
        clock: What time it is.
        slot_seconds: Length of a slot.
    """

    def __init__(self, clock: Clock, slot_seconds: int) -> None:
        self._clock = clock
        self._slot_seconds = slot_seconds
        self._ahead_seconds = clock.now() - clock.monotonic()

    def now(self) -> float:
        """Return this moment."""
        return self._clock.monotonic() + self._ahead_seconds

    def number(self) -> int:
        """Return the number of the slot that is under way."""
        return math.floor(self.now() / self._slot_seconds)

    def passed(self) -> float:
        """Return how much of that slot has passed, 0 to 1."""
        return self.now() / self._slot_seconds % 1

    def wall_of_end(self, number: int) -> float:
        """Return when the slot *number* ends, in seconds since the epoch by the clock of this machine."""
        return self._clock.now() + (number + 1) * self._slot_seconds - self.now()

    def is_near(self, written_at: float, age_seconds: float) -> bool:
        """Return whether a document of this age, written then, is of our days: one put back by somebody is not."""
        return abs(self._clock.now() - written_at - age_seconds) <= CLOCK_TOLERANCE_SECONDS

    def settle(self) -> int:
        """Go back to the wall clock, by whole slots, when it says so different a time that nobody would believe us.

        Return by how many. That clock was set, or the machine slept, which a monotonic clock does not notice.
        """
        change = self._clock.now() - self.now()
        if abs(change) <= CLOCK_TOLERANCE_SECONDS:
            return 0
        slots = round(change / self._slot_seconds)
        self._ahead_seconds += slots * self._slot_seconds
        return slots

    def follow(self, written_at: float, age_seconds: float, least_age_seconds: float) -> float:
        """Be on the time of a document that was written at *written_at*; return by how much this one changes.

        It stays as it is while it can be right: ages of a coarse clock (Memcached's) are up to seconds too much, and
        were each process to add that to what it writes again, the time of the fleet would run.
        """
        now = self.now()
        change = min(max(0.0, written_at + least_age_seconds - now), written_at + age_seconds - now)
        self._ahead_seconds += change
        return change
