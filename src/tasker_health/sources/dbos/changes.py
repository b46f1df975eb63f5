"""Tasks that were inserted and are not seen: written with times that lie long back, as who imports a history does."""

from __future__ import annotations

import math
from collections import deque

_LAG_SECONDS = 12.0
"""Statistics are reported within so long (PostgreSQL documentation, "The Cumulative Statistics System")."""

_LEARNING_SECONDS = 2 * _LAG_SECONDS


class Changes:
    """Tells whether what was counted has been changed since.

    How many tasks are seen, less how many the server says were inserted, stays as it is. A task that is seen before its
    statistics are makes it more for a while; one that is not seen, or whose insertion was rolled back, less for good.

    Attributes:
        seen: By what it shows that tables were replaced and rows deleted, when everything was counted.
    """

    def __init__(self, seen: object, now_seconds: float) -> None:
        self.seen = seen
        self._learns_until = now_seconds + _LEARNING_SECONDS
        self._least = math.inf
        self._lately: deque[tuple[float, int]] = deque()

    def unseen(self, balance: int, now_seconds: float) -> bool:
        """Return whether tasks must have been inserted that are not seen, or were rolled back.

        Args:
            balance: Tasks seen less tasks inserted.
            now_seconds: The time.
        """
        if now_seconds < self._learns_until:
            self._least = min(self._least, balance)
            return False
        self._lately.append((now_seconds, balance))
        while len(self._lately) > 1 and self._lately[1][0] <= now_seconds - _LAG_SECONDS:
            self._lately.popleft()
        is_long = self._lately[0][0] <= now_seconds - _LAG_SECONDS
        return is_long and max(value for _, value in self._lately) < self._least
