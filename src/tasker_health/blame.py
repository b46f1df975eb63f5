"""Who is to blame: which handler, in which queue and version, fails, how often, and since when.

`since` is the minute from which on, in each minute in which some of it ended, at least half has failed. Sources tell of
the last `work.OUTCOME_MINUTES`; a run of failures that goes further back was seen by readings before, here or, by the
shared cache, elsewhere. What fails in fewer than one of those minutes is forgotten between two failures.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasker_health.clock import timestamp
from tasker_health.work import Blame, Outcome

MOST_BLAMED = 5
"""So many kinds of work are told."""

_MINUTE_SECONDS = 60

Kind = tuple[str | None, str | None, str | None]


class Blames:
    """Remembers since when each kind of work of one source fails; only of those that its last reading told of."""

    def __init__(self) -> None:
        self._since: dict[Kind, int] = {}
        self._read_at: float | None = None
        self._told: list[Blame] = []

    def see(self, outcomes: Iterable[Outcome], read_at: float) -> list[Blame]:
        """Return what fails by *outcomes* of a reading at *read_at*, the worst first; the same again is free."""
        if read_at == self._read_at:
            return self._told
        minutes: dict[Kind, dict[int, tuple[int, int]]] = {}
        for each in outcomes:
            ends = minutes.setdefault((each.handler, each.queue, each.version), {})
            completed, failed = ends.get(each.minute, (0, 0))
            ends[each.minute] = completed + each.completed, failed + each.failed
        failing = {kind: ends for kind, ends in minutes.items() if any(failed for _, failed in ends.values())}
        self._since = {kind: begun for kind, ends in failing.items() if (begun := self._begun(kind, ends)) is not None}
        told = [self._blame(kind, ends) for kind, ends in failing.items()]
        self._told = sorted(told, key=lambda each: (-each.failed, each.settled, each.handler or ""))[:MOST_BLAMED]
        self._read_at = read_at
        return self._told

    def _begun(self, kind: Kind, ends: dict[int, tuple[int, int]]) -> int | None:
        """Return the first minute of the run of bad ones that goes on to the newest; `None`: that is not bad."""
        begun = None
        for minute in sorted(ends, reverse=True):
            completed, failed = ends[minute]
            if completed + failed and failed < completed:
                return begun
            begun = minute if failed else begun
        before = self._since.get(kind)
        return begun if before is None or begun is None else min(before, begun)

    def _blame(self, kind: Kind, ends: dict[int, tuple[int, int]]) -> Blame:
        handler, queue, version = kind
        failed = sum(failed for _, failed in ends.values())
        begun = self._since.get(kind)
        return Blame(
            handler=handler,
            queue=queue,
            version=version,
            failed=failed,
            settled=failed + sum(completed for completed, _ in ends.values()),
            since=None if begun is None else timestamp(begun * _MINUTE_SECONDS),
        )
