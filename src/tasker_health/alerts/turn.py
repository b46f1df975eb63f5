"""One turn of one process: it adds its own voice to the ledger, and judges what the fleet says."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasker_health.alerts import Action, Event, Observation, Severity
from tasker_health.alerts.incidents import Incident, Pace, dedup_key, is_worse, step
from tasker_health.alerts.ledger import MOST_INCIDENTS, Ledger, Voice


class Moment(NamedTuple):
    """When a turn is taken.

    Attributes:
        now: On the monotonic clock that the ledger has.
        wall: Seconds since the epoch.
        is_alone: Whether the fleet cannot be asked: then others' voices are as they were heard last, and nothing ends,
            as what ends here may go on elsewhere.
    """

    now: float
    wall: float
    is_alone: bool


class Turn:
    """Takes turns for one process.

    Args:
        me: What tells this process from all others of the fleet.
        service: Name of the service.
        pace: How slowly incidents begin and end; a voice that was not heard for `gap_seconds` counts no more.
        links: URLs that are told along.
        has_siblings: Whether others may share the ledger.
    """

    def __init__(
        self, me: str, service: str, pace: Pace, links: tuple[str, ...] = (), *, has_siblings: bool = True
    ) -> None:
        self._me = me
        self._service = service
        self._pace = pace
        self._links = links
        self._has_siblings = has_siblings

    def take(self, ledger: Ledger, observed: Sequence[Observation] | None, moment: Moment) -> list[Event]:
        """Change *ledger* by what was *observed*, and return what is to be told.

        Args:
            ledger: It is changed.
            observed: What the rules say here; `None`: that could not be found out.
            moment: When this is.
        """
        own = {each.rule: each for each in observed or ()}
        self._speak(ledger, own, moment, is_blind=observed is None)
        said = _said(ledger, moment.now - self._pace.gap_seconds / 2)
        events: list[Event] = []
        for rule in dict.fromkeys([*own, *said, *ledger.incidents]):
            seen = self._seen(rule, own, said.get(rule, []), ledger.incidents.get(rule), moment, observed is None)
            event = None if seen is None else self._step(ledger, seen, moment)
            if event is not None:
                events.append(event)
        return events

    def _speak(self, ledger: Ledger, own: Mapping[str, Observation], moment: Moment, *, is_blind: bool) -> None:
        """Put our voice into *ledger*, and take out of it those that have been silent for too long."""
        before = ledger.voices[self._me].said if self._me in ledger.voices else {}
        said: dict[str, Severity | None] = dict.fromkeys(before) if is_blind else {}
        for rule, each in own.items():
            if each.is_of_fleet:
                continue
            if each.holds:
                said[rule] = each.severity
            elif each.holds is None and rule in before:
                said[rule] = None
        if not moment.is_alone:
            heard = moment.now - self._pace.gap_seconds
            ledger.voices = {name: voice for name, voice in ledger.voices.items() if voice.heard_at >= heard}
        ledger.voices[self._me] = Voice(heard_at=moment.now, said=said)

    def _seen(
        self,
        rule: str,
        own: Mapping[str, Observation],
        said: Sequence[Severity | None],
        incident: Incident | None,
        moment: Moment,
        is_blind: bool,
    ) -> Observation | None:
        """Return what the fleet says of *rule*; `None`: nothing that this process could know."""
        mine = own.get(rule)
        if mine is not None and mine.is_of_fleet:
            return mine
        severities = [each for each in said if each is not None]
        if severities:
            return _holds(rule, mine, incident, severities)
        if said or is_blind:
            return None
        if mine is not None:
            return mine
        return self._missing(rule, incident, moment)

    def _missing(self, rule: str, incident: Incident | None, moment: Moment) -> Observation | None:
        """Return that a rule which nobody looks at any more does not hold: it is off, or its check gone."""
        if incident is None or (incident.held and moment.now - incident.seen_at <= self._pace.gap_seconds):
            return None
        return _observation(rule, incident, holds=False, severity=incident.severity)

    def _step(self, ledger: Ledger, seen: Observation, moment: Moment) -> Event | None:
        before = ledger.incidents.get(seen.rule)
        if before is None and len(ledger.incidents) >= MOST_INCIDENTS:
            return None
        may_end = not self._has_siblings or (
            not moment.is_alone and moment.now - ledger.begun_at >= self._pace.gap_seconds
        )
        after, action = step(before, seen, self._pace, now=moment.now, wall=moment.wall, may_end=may_end)
        if after is None:
            ledger.incidents.pop(seen.rule, None)
        else:
            ledger.incidents[seen.rule] = after
        incident = after or before
        return None if action is None or incident is None else self._event(action, incident, seen, moment)

    def _event(self, action: Action, incident: Incident, seen: Observation, moment: Moment) -> Event:
        return Event(
            id=secrets.token_hex(8),
            action=action,
            dedup_key=dedup_key(self._service, seen.rule),
            rule=seen.rule,
            severity=incident.severity,
            summary=incident.summary,
            details=seen.details,
            service=self._service,
            # The one who saw it begin may have had another clock.
            at=max(moment.wall, incident.since),
            since=incident.since,
            links=self._links,
        )


def _said(ledger: Ledger, since: float) -> dict[str, list[Severity | None]]:
    """Return what all voices say, by rule.

    Of one that was not heard *since* then, such as that of a process that is gone, nothing is known any more: what it
    has seen once does not become an incident by waiting.
    """
    said: dict[str, list[Severity | None]] = {}
    for voice in ledger.voices.values():
        for rule, severity in voice.said.items():
            said.setdefault(rule, []).append(severity if voice.heard_at >= since else None)
    return said


def _holds(
    rule: str, mine: Observation | None, incident: Incident | None, severities: Sequence[Severity]
) -> Observation:
    """Return that *rule* holds for as many processes as there are *severities*, in the words of whoever has some."""
    worst = severities[0]
    for each in severities[1:]:
        worst = each if is_worse(each, worst) else worst
    if mine is None or not mine.holds:
        mine = _observation(rule, incident, holds=True, severity=worst)
    details = {**mine.details, "processes": len(severities)}
    return Observation(rule=rule, holds=True, is_of_fleet=False, severity=worst, summary=mine.summary, details=details)


def _observation(rule: str, incident: Incident | None, *, holds: bool, severity: Severity) -> Observation:
    """Return what somebody else has seen: of that, the ledger knows the summary."""
    summary = rule if incident is None else incident.summary
    return Observation(
        rule=rule, holds=holds, is_of_fleet=False, severity=severity, summary=summary, details={"rule": rule}
    )
