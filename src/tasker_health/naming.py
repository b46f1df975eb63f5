"""Names that somebody else has given, such as namespaces: as they are told, and no more of them than can be borne."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from heapq import nlargest

from msgspec.structs import replace

from tasker_health.model import Facts

MOST_NAMES = 1000
"""So many groups, or states, of one source are told apart, whatever it answers; the rest is `other`."""

LONGEST_NAME = 128
OTHER = "other"
_CUT = "\u2026"
_AT_A_TIME = 500
"""After so many names others have a turn on the event loop."""

_STATES = frozenset(("pending", "running", "completed", "failed", "cancelled", OTHER))

Groups = dict[str, dict[str, int]]


def label(text: str) -> str:
    """Return *text* as it is told: not empty, at most 128 characters, and such that it can be encoded.

    Half of a surrogate pair becomes a question mark; an empty value of a label would be no label at all (Prometheus,
    "Data model").
    """
    if not text:
        return "unknown"
    if len(text) > LONGEST_NAME:
        text = text[: LONGEST_NAME - 1] + _CUT
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


async def bounded(facts: Facts) -> Facts:
    """Return *facts* with names that can be told, and not too many of them.

    Those that become one are added up.

    Raises:
        TypeError, ValueError, AttributeError: What a source has answered in their place is something else.
    """
    changed: dict[str, object] = {}
    for field in ("tasks_by_state", "steps_by_state"):
        states: Mapping[str, int] | None = getattr(facts, field)
        if states is not None and not (_are_told(states) and _are_counts(states)):
            both = await _bounded({name: {OTHER: _count(number)} for name, number in states.items()})
            changed[field] = {name: found[OTHER] for name, found in both.items()}
    if facts.groups is not None and not (_are_told(facts.groups) and all(map(_are_states, facts.groups.values()))):
        changed["groups"] = await _bounded(facts.groups)
    return replace(facts, **changed) if changed else facts


def _are_told(names: Mapping[str, object]) -> bool:
    return len(names) <= MOST_NAMES and all(label(name) == name for name in names)


def _are_states(states: Mapping[str, int]) -> bool:
    return _STATES.issuperset(states) and _are_counts(states)


def _are_counts(states: Mapping[str, int]) -> bool:
    return all(type(number) is int and number >= 0 for number in states.values())


async def _bounded(groups: Mapping[str, Mapping[str, int]]) -> Groups:
    totals: dict[str, int] = {}
    for number, (name, states) in enumerate(groups.items()):
        totals[name] = sum(states.values())
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    # One place is kept for what all others become together.
    apart = totals if len(totals) <= MOST_NAMES else set(nlargest(MOST_NAMES - 1, totals, key=totals.__getitem__))
    found: Groups = {}
    for number, (name, states) in enumerate(groups.items()):
        _add(found.setdefault(label(name) if name in apart else OTHER, {}), states)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    return found


def _add(found: dict[str, int], states: Mapping[str, int]) -> None:
    for state, number in states.items():
        known = state if state in _STATES else OTHER
        found[known] = found.get(known, 0) + _count(number)


def _count(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} is no count")
    return number
