"""Which ids are settled: no row with such an id can appear any more that is not visible already.

Ids come from a sequence and become visible when their transaction commits, out of order. Any id up to H, the highest
handed out at one moment, belongs to a transaction that has ended or that holds a writer's lock on the table (PostgreSQL
takes it before it evaluates the default of a column). So when H was read first and the set W of those transactions
afterwards, and later none of W holds such a lock any more, every transaction behind an id up to H has ended.

A prepared transaction (two-phase commit) goes on under another name, so while there is one, nothing is settled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

_MOST_WAITING = 32
_PREPARED = "-1/"

Ids = TypeVar("Ids", bound=tuple[int, ...])


class Marks(Generic[Ids]):
    """Learns from each poll up to which ids everything is settled.

    Attributes:
        settled: The highest ids known to be, or times, or whatever new rows have more of; `None`: not known yet.
    """

    def __init__(self) -> None:
        self.settled: Ids | None = None
        self._waiting: list[tuple[Ids, frozenset[str]]] = []
        self._noted_at = -math.inf

    def note(self, highest: Ids, writers: frozenset[str], at: float = 0) -> None:
        """Learn from the *highest* ids, read first, and from *writers*, read after them.

        Args:
            highest: The highest id handed out, by table.
            writers: Virtual transaction ids that held a writer's lock on any of the tables (`pg_locks`).
            at: When the ids were read. What another connection has read before that is not learnt from after it: a
                transaction that began in between would be in neither list of writers.
        """
        if at < self._noted_at:
            return
        self._noted_at = at
        self._waiting.append((highest, writers))
        if not any(writer.startswith(_PREPARED) for writer in writers):
            ended = [ids for ids, then in self._waiting if not then & writers]
            if ended:
                self.settled = _highest([*ended, *([self.settled] if self.settled else [])])
                self._waiting = [(ids, then) for ids, then in self._waiting if then & writers]
        if len(self._waiting) > _MOST_WAITING:
            # The oldest will settle first, the newest brings most: one between them is spared.
            del self._waiting[_MOST_WAITING // 2]


def _highest(several: Sequence[Ids]) -> Ids:
    """Return the highest of each."""
    if len(several) == 1:
        return several[0]
    kind = type(several[0])
    make: Callable[[Iterable[int]], Ids] = getattr(kind, "_make", kind)
    return make(map(max, *several))
