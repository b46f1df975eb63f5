"""What no transition tells: rows deleted, tables replaced, rows edited in place. The server's statistics show it.

Statistics come late: a session reports what it has done at the end of a transaction, at most once a second, and what
is left over when it has been idle for ten (PostgreSQL documentation, "The Cumulative Statistics System").
"""

from __future__ import annotations

import math
from collections import deque
from operator import lt

from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.relations import Look, Print

STATISTICS_LAG_SECONDS = 12.0


class Changes:
    """Tells whether what was counted has been changed since.

    Each transition after the first of its entity is an insertion and an update; so updates less insertions plus first
    transitions stays as it is. An edit in place makes it more, for good; a transaction that is visible before its
    statistics are makes it more for a while, and a first transition that was rolled back makes it less.

    A sequence that was set back, as scripts do after a restore, hands out ids that are settled already.

    Attributes:
        seen: By what it shows that tables were replaced and rows deleted, when everything was counted.
    """

    def __init__(self, seen: Print, highest: Ids, updated_steps: int | None = None) -> None:
        self.seen = seen
        self._highest = highest
        self._set_back = False
        self._updated_steps = updated_steps
        self._least = math.inf
        self._lately: deque[tuple[float, int]] = deque()

    def replaced(self, look: Look) -> bool:
        """Return whether rows were deleted, tables replaced or sequences set back since."""
        self._set_back |= any(map(lt, look.highest, self._highest))
        self._highest = look.highest
        return self._set_back or look.seen != self.seen

    def steps_updated(self, look: Look) -> bool:
        """Return whether steps were updated since this was asked last."""
        updated, self._updated_steps = self._updated_steps != look.edits[1], look.edits[1]
        return updated

    def edited(self, look: Look, firsts: int) -> bool:
        """Return whether transitions must have been edited in place.

        Args:
            look: Of this poll.
            firsts: How many transitions since the full count were the first of their entity.
        """
        balance = look.edits[0] + firsts
        self._least = min(self._least, balance)
        self._lately.append((look.now, balance))
        while len(self._lately) > 1 and self._lately[1][0] <= look.now - STATISTICS_LAG_SECONDS:
            self._lately.popleft()
        is_long = self._lately[0][0] <= look.now - STATISTICS_LAG_SECONDS
        return is_long and min(value for _, value in self._lately) > self._least
