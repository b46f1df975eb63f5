"""Incidents: a rule that holds for long enough, until it has not held for long enough. Pure; time is an argument.

Only time between two looks that both knew is counted, and only if they are not too far apart: what cannot be known
neither begins an incident nor ends one, and what is known again afterwards goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tasker_health.alerts import Action, Observation, Severity

MOST_DEDUP_KEY = 255
"""PagerDuty's limit (Events API v2 Overview)."""

_SEVERITY = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2, Severity.CRITICAL: 3}

_ALWAYS_CHANGE = frozenset({"timestamp", "cache_info", "response_time_ms", "oldest_pending_seconds", "age_seconds"})
"""Details that are other ones at each look: they are no news."""


class Pace(NamedTuple):
    """How slowly incidents begin, go on and end.

    Attributes:
        for_seconds, clear_seconds, update_seconds: See `AlertSettings`.
        gap_seconds: Two looks farther apart than this say nothing of the time between them.
    """

    for_seconds: float
    clear_seconds: float
    update_seconds: float
    gap_seconds: float


class Incident(Struct, frozen=True, kw_only=True):
    """What is known of one rule that holds, or did until a moment ago.

    Attributes:
        is_open: Whether somebody is told of it.
        held: Whether the rule held at the latest look that knew.
        seen_at: When that was, on a monotonic clock.
        for_seconds: For how long it has held, until it is open; for how long it has not, from then on.
        since: When it began to hold, seconds since the epoch, as somebody's clock said it: to be told, not to measure.
        severity, summary: What was told last.
        figures: What was told last, in short.
        told_at: When, on the monotonic clock.
    """

    is_open: bool
    held: bool
    seen_at: float
    for_seconds: float
    since: float
    severity: Severity
    summary: str
    figures: str
    told_at: float


class Step(NamedTuple):
    """What comes of one look.

    Attributes:
        incident: What is known now; `None`: nothing that would have to be remembered.
        action: What is to be told, if anything.
    """

    incident: Incident | None
    action: Action | None


def step(
    before: Incident | None, seen: Observation, pace: Pace, *, now: float, wall: float, may_end: bool = True
) -> Step:
    """Return what comes of *seen* after *before*.

    Args:
        before: What was known until now.
        seen: What the rule says.
        pace: How slowly.
        now: The monotonic time that `before` has.
        wall: Seconds since the epoch.
        may_end: Whether everybody who could object has been heard: it goes on, otherwise.
    """
    if seen.holds is None:
        return Step(before, None)
    if before is None:
        if not seen.holds:
            return Step(None, None)
        before = _begun(seen, now, wall)
    elif before.is_open or seen.holds:
        before = _went_on(before, pace, now, holds=seen.holds)
    else:
        return Step(None, None)
    return _judged(before, seen, pace, now, may_end=may_end)


def dedup_key(service: str, rule: str) -> str:
    """Return the key under which everybody tells of *rule*: printable, at most 255 characters."""
    key = f"tasker-health/{quote(service, safe='')}/{quote(rule, safe=':')}"
    if len(key) <= MOST_DEDUP_KEY:
        return key
    return f"tasker-health/{hashlib.sha256(key.encode()).hexdigest()}"


def figures_of(details: Mapping[str, Any]) -> str:
    """Return in short what *details* say, without what is another one at each look."""
    return hashlib.sha256(msgspec.json.encode(_lasting(details), order="sorted")).hexdigest()[:16]


def is_worse(severity: Severity, than: Severity) -> bool:
    """Return whether *severity* is worse."""
    return _SEVERITY[severity] > _SEVERITY[than]


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(each) for key, each in value.items() if key not in _ALWAYS_CHANGE}
    return value


def _begun(seen: Observation, now: float, wall: float) -> Incident:
    return Incident(
        is_open=False,
        held=True,
        seen_at=now,
        for_seconds=0.0,
        since=wall,
        severity=seen.severity,
        summary=seen.summary,
        figures="",
        told_at=now,
    )


def _went_on(before: Incident, pace: Pace, now: float, *, holds: bool) -> Incident:
    """Return *before* with the time that has passed, if it is known what was meanwhile."""
    passed = now - before.seen_at
    for_seconds = before.for_seconds
    if holds is before.is_open or holds is not before.held:
        for_seconds = 0.0
    elif 0 <= passed <= pace.gap_seconds:
        for_seconds += passed
    return replace(before, held=holds, seen_at=max(now, before.seen_at), for_seconds=for_seconds)


def _judged(incident: Incident, seen: Observation, pace: Pace, now: float, *, may_end: bool) -> Step:
    if not incident.is_open:
        if incident.for_seconds < pace.for_seconds:
            return Step(incident, None)
        return Step(_told(replace(incident, is_open=True, for_seconds=0.0), seen, now), Action.TRIGGER)
    if not incident.held:
        is_over = may_end and incident.for_seconds >= pace.clear_seconds
        return Step(None, Action.RESOLVE) if is_over else Step(incident, None)
    is_due = now - incident.told_at >= pace.update_seconds
    if is_worse(seen.severity, incident.severity) or (is_due and _is_news(incident, seen)):
        return Step(_told(incident, seen, now), Action.UPDATE)
    return Step(incident, None)


def _is_news(incident: Incident, seen: Observation) -> bool:
    return incident.severity is not seen.severity or incident.figures != figures_of(seen.details)


def _told(incident: Incident, seen: Observation, now: float) -> Incident:
    figures = figures_of(seen.details)
    return replace(incident, severity=seen.severity, summary=seen.summary, figures=figures, told_at=now)
