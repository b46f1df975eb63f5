"""Whether what a source says of causes, flow and outcomes can be: a source of the user's may answer anything."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest

from msgspec.structs import replace

from tasker_health.errors import SourceFault
from tasker_health.flow import OTHER, together
from tasker_health.model import Facts, Reason
from tasker_health.naming import MOST_NAMES, label
from tasker_health.work import MOST_OUTCOMES, OUTCOME_MINUTES, Cause, Outcome, QueueFlow

_MOST_QUEUES = 10_000
"""A source that answers more queues is not believed: to go through them would hold up everybody else."""

_MOST_ENDS = MOST_OUTCOMES * (OUTCOME_MINUTES + 1)
"""The minute that goes on is one beyond those that are over."""


def plausible_work(facts: Facts) -> Facts:
    """Return *facts* with names of queues and kinds that can be told.

    Raises:
        SourceFault: Their causes, flow, queues or outcomes are none, or too many.
    """
    if facts.causes is not None:
        _require(
            isinstance(facts.causes, Mapping) and all(map(_is_cause, facts.causes.items())),
            "causes",
            "a count by Cause",
        )
    _require(facts.flow is None or _is_flow(facts.flow), "flow", "a QueueFlow of counts")
    changed: dict[str, object] = {}
    if facts.queues is not None:
        queues = facts.queues
        is_some = isinstance(queues, Mapping) and len(queues) <= _MOST_QUEUES
        _require(is_some and all(map(_is_flow, queues.values())), "queues", f"{_MOST_QUEUES} QueueFlow by name at most")
        if len(queues) > MOST_NAMES or any(label(name) != name for name in queues):
            changed["queues"] = _bounded(queues)
    if facts.outcomes is not None:
        ends = facts.outcomes
        is_some = isinstance(ends, tuple) and len(ends) <= _MOST_ENDS
        _require(is_some and all(map(_is_outcome, ends)), "outcomes", f"{_MOST_ENDS} Outcome at most")
        if not all(map(_is_told, ends)):
            changed["outcomes"] = tuple(map(_told, ends))
    return replace(facts, **changed) if changed else facts


def _require(is_some: bool, name: str, wanted: str) -> None:
    if not is_some:
        raise SourceFault(Reason.INVALID, f"{name}: it must be {wanted}, or None")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_cause(pair: tuple[object, object]) -> bool:
    return isinstance(pair[0], Cause) and _is_count(pair[1])


def _is_flow(flow: object) -> bool:
    if not isinstance(flow, QueueFlow):
        return False
    figures = (flow.arrived, flow.ended, flow.ready, flow.oldest_ready_seconds)
    return all(each is None or _is_count(each) for each in figures)


def _is_outcome(end: object) -> bool:
    return (
        isinstance(end, Outcome)
        and all(map(_is_count, (end.minute, end.completed, end.failed)))
        and all(each is None or isinstance(each, str) for each in (end.handler, end.queue, end.version))
    )


def _is_told(end: Outcome) -> bool:
    return all(each is None or label(each) == each for each in (end.handler, end.queue, end.version))


def _told(end: Outcome) -> Outcome:
    handler, queue, version = (None if each is None else label(each) for each in (end.handler, end.queue, end.version))
    return Outcome(end.minute, handler, queue, version, end.completed, end.failed)


def _bounded(queues: Mapping[str, QueueFlow]) -> dict[str, QueueFlow]:
    """Return *queues* under names that can be told; those that become one, and too many, are put together."""
    apart = set(queues)
    if len(queues) > MOST_NAMES:
        apart = set(nlargest(MOST_NAMES - 1, queues, key=lambda name: queues[name].ready or 0))
    found: dict[str, list[QueueFlow]] = {}
    for name, flow in queues.items():
        found.setdefault(label(name) if name in apart else OTHER, []).append(flow)
    return {name: flows[0] if len(flows) == 1 else together(flows) for name, flows in found.items()}
