"""What becomes of a ledger when the shared cache was away, was restarted empty, or shows an older one again."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from tasker_health.alerts.incidents import Incident
from tasker_health.alerts.ledger import Ledger, begun, shifted
from tasker_health.alerts.waiting import bring_back, settle


def merged(theirs: Ledger | None, mine: Ledger, now: float, *, is_ahead: bool) -> Ledger:
    """Return what is known from *theirs*, which lies in the cache, and *mine*, which this process had the last time.

    Where theirs follows from mine, it is theirs. Else what is open or waits here, and is not known there, is added: it
    may be told or ended once more, under the same key, but it is not lost. What theirs says is open stays open.

    Args:
        theirs: What lies in the cache; `None`: nothing.
        mine: What this process knows.
        now: The monotonic time of both.
        is_ahead: Whether mine has changed since it was written, or could not be written.
    """
    if theirs is None:
        return _begun_anew(mine, now)
    is_older = theirs.lineage == mine.lineage and theirs.version < mine.version
    if theirs.lineage == mine.lineage and not is_older and not is_ahead:
        return theirs
    result = shifted(theirs, 0.0)
    if is_older:
        result.version, result.begun_at = mine.version, now
    _add_voices(result, mine)
    # One that somebody has kept and puts back would page, or end a page, once more.
    for channel, ids in mine.done.items():
        settle(result, channel, ids)
    _add_waiting(result, mine, is_older=is_older)
    _add_incidents(result, mine)
    _add_dropped(result, mine)
    return result


def _begun_anew(mine: Ledger, now: float) -> Ledger:
    """Return *mine* as the first ledger of a cache in which nothing lies: others have not been heard yet."""
    result = shifted(mine, 0.0)
    result.lineage, result.version, result.begun_at = begun(now).lineage, 0, now
    result.incidents = {rule: _for_now(each) for rule, each in result.incidents.items()}
    return result


def _add_voices(result: Ledger, mine: Ledger) -> None:
    for name, voice in mine.voices.items():
        known = result.voices.get(name)
        if known is None or known.heard_at < voice.heard_at:
            result.voices[name] = voice


def _add_waiting(result: Ledger, mine: Ledger, *, is_older: bool) -> None:
    """Add what waits here, but for what is of an incident that is open there: it was told, and is not over.

    What an older ledger says is open may have ended and begun again since: of that, nothing was told.
    """
    still_open = set() if is_older else {rule for rule, each in result.incidents.items() if each.is_open}
    for channel, queue in mine.waiting.items():
        kept = [each for each in queue if mine.events[each.event].rule not in still_open]
        bring_back(result, channel, kept, mine.events)


def _add_incidents(result: Ledger, mine: Ledger) -> None:
    """Add what is open here, and what has been seen here later; what theirs says is open stays so."""
    for rule, incident in mine.incidents.items():
        known = result.incidents.get(rule)
        if (
            known is None
            or incident.is_open > known.is_open
            or (incident.is_open is known.is_open and incident.seen_at > known.seen_at)
        ):
            result.incidents[rule] = _for_now(incident)


def _add_dropped(result: Ledger, mine: Ledger) -> None:
    """Take the higher count of what was dropped: it is for people, and rather too low than told twice."""
    result.dropped = {
        channel: dict(Counter(result.dropped.get(channel, {})) | Counter(mine.dropped.get(channel, {})))
        for channel in result.dropped.keys() | mine.dropped.keys()
    }


def _for_now(incident: Incident) -> Incident:
    """Return *incident*, whose end, if it is near, is not decided by what was seen without the others."""
    return replace(incident, for_seconds=0.0) if incident.is_open else incident
