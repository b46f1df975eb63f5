"""The ages among the figures of a source, which grow while it is read."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict, replace

from tasker_health.model import Facts
from tasker_health.work import QueueFlow


def ages_of(facts: Facts) -> dict[str | None, int | None]:
    """Return how long the oldest ready task of each queue has been ready; `None`: of all of them."""
    flows = {None: facts.flow, **(facts.queues or {})}
    return {name: flow.oldest_ready_seconds for name, flow in flows.items() if flow is not None}


def without_ages(facts: Facts) -> Facts:
    """Return *facts* without those ages."""
    queues = {name: replace(flow, oldest_ready_seconds=None) for name, flow in (facts.queues or {}).items()}
    flow = None if facts.flow is None else replace(facts.flow, oldest_ready_seconds=None)
    return replace(facts, flow=flow, queues=None if facts.queues is None else queues)


def grown(found: Facts, first: Facts, last: Facts) -> bool:
    """Say whether each age of *found* lies between those that were recounted before and after it was read."""
    ages, from_, to = ages_of(found), ages_of(first), ages_of(last)
    return ages.keys() == from_.keys() == to.keys() and all(
        age == from_[name] == to[name]
        if None in {age, from_[name], to[name]}
        else (from_[name] or 0) <= (age or 0) <= (to[name] or 0)
        for name, age in ages.items()
    )


def lies_between(figure: Any, first: Any, last: Any) -> bool:
    """Say whether *figure* may have been found: what the clock alone changes goes one way while it is read."""
    if isinstance(figure, QueueFlow):
        figure, first, last = (None if each is None else asdict(each) for each in (figure, first, last))
    if isinstance(figure, dict) and figure.keys() == first.keys() == last.keys():
        return all(lies_between(figure[key], first[key], last[key]) for key in figure)
    if first == last or not isinstance(figure, int):
        return figure in (first, last)
    return min(first, last) <= figure <= max(first, last)
