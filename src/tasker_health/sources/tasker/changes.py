"""What no transition tells: rows deleted, tables replaced, rows edited in place. The server's statistics show it.

Statistics come late: a session reports what it has done at the end of a transaction, at most once a second, and what
is left over when it has been idle for ten (PostgreSQL documentation, "The Cumulative Statistics System").
"""

from __future__ import annotations

import math
from collections import deque
from operator import lt

from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.relations import Look, Print, Statistics

STATISTICS_LAG_SECONDS = 12.0


class Changes:
    """Tells whether what was counted has been changed since.

    Rows deleted, tables replaced, a server started anew and a sequence that was set back (which hands out ids that are
    settled already) are seen for sure. Two more signs only raise a suspicion:

    * Each transition after the first of its entity is an insertion and an update; so updates less insertions plus
      first transitions stays as it is. An edit in place makes it more, for good; a transaction that is visible before
      its statistics are makes it more for a while.
    * Each insertion becomes visible above the settled ids, or was rolled back. More insertions than that may be rows
      with ids of somebody's own choice, among those that are settled.

    Attributes:
        seen: By what it shows that tables were replaced and rows deleted, when everything was counted.
    """

    def __init__(self, seen: Print, highest: Ids, counted: Statistics | None = None) -> None:
        self.seen = seen
        self._highest = highest
        self._set_back = False
        self._counted = counted
        self._since: float | None = None
        self._least = math.inf
        self._lately: deque[tuple[float, int]] = deque()
        self._most_unseen = -math.inf

    def replaced(self, look: Look) -> bool:
        """Return whether rows were deleted, tables replaced or sequences set back since."""
        self._set_back |= any(map(lt, look.highest, self._highest))
        self._highest = look.highest
        return self._set_back or look.seen != self.seen

    def attributes_changed(self, look: Look) -> bool:
        """Return whether steps or edges may have been changed without a transition since this was asked last."""
        before, self._counted = self._counted, look.counted
        return (
            before is None
            or before.steps_updated != look.counted.steps_updated
            or before.edges_changed != look.counted.edges_changed
        )

    def suspicious(self, look: Look, firsts: int, rows: int) -> bool:
        """Return whether rows may have been edited in place, or given ids that were settled.

        Args:
            look: Of this poll.
            firsts: How many transitions since the full count were the first of their entity.
            rows: How many rows have become visible since then.
        """
        self._since = look.now if self._since is None else self._since
        # What was counted already may be reported only now.
        is_early = look.now < self._since + STATISTICS_LAG_SECONDS
        edited = self._edited(look.now, look.counted.balance + firsts)
        unseen = look.counted.inserted - rows
        hidden, self._most_unseen = unseen > self._most_unseen, max(unseen, self._most_unseen)
        return not is_early and (edited or hidden)

    def _edited(self, now: float, balance: int) -> bool:
        self._least = min(self._least, balance)
        self._lately.append((now, balance))
        while len(self._lately) > 1 and self._lately[1][0] <= now - STATISTICS_LAG_SECONDS:
            self._lately.popleft()
        return min(value for _, value in self._lately) > self._least
