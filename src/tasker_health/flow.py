"""How work flows: rates, what waits, when that will be drained, and whether nothing moves at all."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest

from tasker_health.model import Facts
from tasker_health.work import OUTCOME_MINUTES, FlowReport, QueueFlow

MOST_QUEUES = 20
"""So many queues of a source are told apart in the status, those with most ready tasks; the rest is `other`."""

OTHER = "other"

_MINUTE_SECONDS = 60
_READINGS = 2
"""So many readings one after the other must show that nothing moves, or that something does, before it is said."""


def flow_report(flow: QueueFlow, window_seconds: float) -> FlowReport:
    """Return *flow*, whose counts are of the last *window_seconds*, as it is told."""
    arrivals, completions = _per_minute(flow.arrived, window_seconds), _per_minute(flow.ended, window_seconds)
    drains = seconds = None
    if flow.ready == 0:
        drains, seconds = True, 0
    elif flow.ready is not None and flow.arrived is not None and flow.ended is not None:
        # Counts, not rates: those are rounded.
        drains = flow.ended > flow.arrived
        seconds = round(flow.ready * window_seconds / (flow.ended - flow.arrived)) if drains else None
    return FlowReport(
        arrivals_per_minute=arrivals,
        completions_per_minute=completions,
        ready_tasks=flow.ready,
        oldest_ready_seconds=flow.oldest_ready_seconds,
        seconds_to_drain=seconds,
        drains=drains,
    )


def queue_reports(queues: Mapping[str, QueueFlow], window_seconds: float) -> dict[str, FlowReport]:
    """Return each of *queues* as it is told; of too many, the least busy together as `other`."""
    told = queues
    if len(queues) > MOST_QUEUES:
        apart = nlargest(
            MOST_QUEUES - 1, (name for name in queues if name != OTHER), key=lambda name: _busy(queues[name])
        )
        rest = [flow for name, flow in queues.items() if name not in set(apart)]
        told = {**{name: queues[name] for name in apart}, OTHER: together(rest)}
    return {name: flow_report(told[name], window_seconds) for name in sorted(told)}


def together(flows: list[QueueFlow]) -> QueueFlow:
    """Return *flows* as one; a sum of which a part is unknown is unknown."""
    ages = [flow.oldest_ready_seconds for flow in flows if flow.ready != 0]
    known = [age for age in ages if age is not None]
    return QueueFlow(
        arrived=_sum([flow.arrived for flow in flows]),
        ended=_sum([flow.ended for flow in flows]),
        ready=_sum([flow.ready for flow in flows]),
        oldest_ready_seconds=max(known) if known and len(known) == len(ages) else None,
    )


class Progress:
    """Says whether nothing moves in one source: work that could be taken has waited for long, and nothing has ended.

    It follows from what a reading tells of the last minutes, so that every replica comes to the same; where the source
    does not tell how work ended, from readings over the whole time. One reading alone never says it, and one that shows
    an end does not take it back: it takes two.

    Args:
        seconds: From how long on it is said.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._read_at: float | None = None
        self._ended: int | None = None
        self._none_since = 0.0
        self._agreeing = 0
        self.stands: bool = False

    def see(self, facts: Facts, read_at: float) -> bool:
        """Return whether nothing moves, by *facts* read at *read_at* and those before; the same again is free."""
        if read_at == self._read_at:
            return self.stands
        if self._read_at is not None and read_at < self._read_at:
            self._none_since = read_at  # the clock was set back
        shows = self._shows(facts, read_at)
        self._read_at = read_at
        self._agreeing = self._agreeing + 1 if shows != self.stands else 0
        if self._agreeing >= _READINGS:
            self.stands, self._agreeing = shows, 0
        return self.stands

    def _shows(self, facts: Facts, read_at: float) -> bool:
        ended = facts.completed + facts.failed + facts.cancelled
        if self._ended is None or ended > self._ended:
            self._none_since = read_at
        self._ended = ended  # fewer than before: old ones were deleted
        flow = facts.flow
        if flow is None or not flow.ready or (flow.oldest_ready_seconds or 0) < self._seconds:
            return False
        if facts.outcomes is not None:
            # The minute in which the time begins counts as a whole: an end in it is one.
            first = int((read_at - min(self._seconds, OUTCOME_MINUTES * _MINUTE_SECONDS)) // _MINUTE_SECONDS)
            if any(each.minute >= first and each.completed + each.failed for each in facts.outcomes):
                return False
            if self._seconds <= OUTCOME_MINUTES * _MINUTE_SECONDS:
                return True
        return read_at - self._none_since >= self._seconds


def _busy(flow: QueueFlow) -> tuple[int, int]:
    return flow.ready or 0, (flow.arrived or 0) + (flow.ended or 0)


def _per_minute(count: int | None, window_seconds: float) -> float | None:
    return None if count is None else round(count * _MINUTE_SECONDS / window_seconds, 2)


def _sum(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
