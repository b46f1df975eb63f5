"""The ledger: what a fleet knows of its incidents, and what still waits to be told.

It lies in the shared cache. Its times are of a time of its own, which began with it; whoever has it in its hands has
them on its own monotonic clock (`shifted`). Clocks of the fleet may be minutes apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tasker_health.alerts import Event, Severity
from tasker_health.alerts.incidents import MOST_DEDUP_KEY, Incident
from tasker_health.alerts.pending import Pending

NAME = "alerts:ledger"
"""Under which it lies in the cache; no source may have a name like that."""

MOST_BYTES = 128 * 1024
"""Most that is written: more would hold the event loop for too long while it is read."""

MOST_INCIDENTS = 100
MOST_VOICES = 200
MOST_DONE = 200
"""So many events of each channel are known to be done; a process that was cut off brings them back."""

_MOST_RULES = 100
_MOST_WORDS = 1000
_MOST_SECONDS = 315_360_000
_MOST_VERSION = 2**53
_MOST_EPOCH_SECONDS = 253_370_764_800
"""The year 9999, the last one that can be told."""

_MOST_DEPTH = 20


class Voice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one process says of itself.

    Attributes:
        heard_at: When it has spoken last.
        said: The rules that hold there, and how bad that is; `None`: it held, and is not known any more.
    """

    heard_at: float
    said: dict[str, Severity | None]


class Waiting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that waits for one channel; see `Pending`.

    Attributes:
        event: Its id.
        first_at: Since when.
        attempts: How often it was tried in vain.
    """

    event: str
    first_at: float
    attempts: int = 0


class Ledger(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a fleet knows.

    Attributes:
        lineage: Of all that followed from one beginning, and of no other.
        version: How often it was written since: who has seen a higher one knows more.
        begun_at: Since when every process that speaks is heard; nothing ends before all had the time to speak.
        written_at: When it was written last, by its own time.
        voices: By process.
        incidents: By rule.
        events: What still waits, by id.
        waiting: By channel, in order.
        done: Ids of events that each channel needs no more.
        dropped: How many events nobody will get, by channel and by why, for the doctor.
    """

    lineage: str
    version: int = 0
    begun_at: float = 0.0
    written_at: float = 0.0
    voices: dict[str, Voice] = {}
    incidents: dict[str, Incident] = {}
    events: dict[str, Event] = {}
    waiting: dict[str, list[Waiting]] = {}
    done: dict[str, list[str]] = {}
    dropped: dict[str, dict[str, int]] = {}

    def queue(self, channel: str) -> list[Pending]:
        """Return what waits for *channel*, in order."""
        return [
            Pending(event=self.events[each.event], first_at=each.first_at, attempts=each.attempts)
            for each in self.waiting.get(channel, ())
        ]


def begun(now: float) -> Ledger:
    """Return a ledger in which nothing stands yet."""
    return Ledger(lineage=secrets.token_hex(8), begun_at=now)


def shifted(ledger: Ledger, by: float) -> Ledger:
    """Return *ledger* with all times later *by* so many seconds; nothing that changes is shared with the old one."""
    return replace(
        ledger,
        begun_at=ledger.begun_at + by,
        voices={name: replace(each, heard_at=each.heard_at + by) for name, each in ledger.voices.items()},
        incidents={
            rule: replace(each, seen_at=each.seen_at + by, told_at=each.told_at + by)
            for rule, each in ledger.incidents.items()
        },
        events=dict(ledger.events),
        waiting={
            channel: [replace(each, first_at=each.first_at + by) for each in queue]
            for channel, queue in ledger.waiting.items()
        },
        done={channel: list(ids) for channel, ids in ledger.done.items()},
    )


def size_of(ledger: Ledger) -> int:
    """Return how many bytes it is when it is written."""
    return len(msgspec.json.encode(ledger))


def is_believable(ledger: Ledger) -> bool:
    """Return whether one of us could have written *ledger*: what was decoded has the right types, and no more."""
    waiting = [each for queue in ledger.waiting.values() for each in queue]
    return (
        len(ledger.lineage) <= _MOST_WORDS
        and 0 <= ledger.version < _MOST_VERSION
        and len(ledger.incidents) <= MOST_INCIDENTS
        and len(ledger.voices) <= MOST_VOICES
        and all(len(each.said) <= _MOST_RULES for each in ledger.voices.values())
        and all(0 <= each.attempts < _MOST_VERSION and each.event in ledger.events for each in waiting)
        and all(map(_can_be_sent, ledger.events.items()))
        and all(0 <= count < _MOST_VERSION for counts in ledger.dropped.values() for count in counts.values())
        and all(_are_words(each.summary) for each in ledger.incidents.values())
        and all(map(_are_words, _names(ledger)))
        and all(abs(moment) <= _MOST_SECONDS for moment in _relative(ledger))
        and all(0 <= each.since < _MOST_EPOCH_SECONDS and each.for_seconds >= 0 for each in ledger.incidents.values())
    )


def _relative(ledger: Ledger) -> Iterator[float]:
    """Yield every time that is relative; one that is no number is beyond all bounds."""
    yield from (ledger.begun_at, ledger.written_at)
    for voice in ledger.voices.values():
        yield voice.heard_at
    for incident in ledger.incidents.values():
        yield from (incident.seen_at, incident.told_at, incident.for_seconds)
    for queue in ledger.waiting.values():
        yield from (each.first_at for each in queue)


def _can_be_sent(named: tuple[str, Event]) -> bool:
    name, event = named
    return (
        name == event.id
        and 1 <= len(event.dedup_key) <= MOST_DEDUP_KEY
        and event.dedup_key.isprintable()
        and _are_words(event.summary)
        and _are_words(event.rule)
        and 0 <= event.since <= event.at < _MOST_EPOCH_SECONDS
        and _is_flat(event.details, _MOST_DEPTH)
    )


def _names(ledger: Ledger) -> Iterator[str]:
    """Yield every name that is shown to people, or told to others."""
    yield from ledger.incidents
    yield from ledger.waiting
    yield from ledger.dropped
    for voice in ledger.voices.values():
        yield from voice.said
    for counts in ledger.dropped.values():
        yield from counts


def _are_words(text: str) -> bool:
    """Return whether *text* fits in one line of a log, and commands no terminal."""
    return len(text) <= _MOST_WORDS and text.isprintable()


def _is_flat(value: object, depth: int) -> bool:
    """Return whether *value* is not nested so deep that it could be read and not written."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_flat(each, depth - 1) for each in parts)
