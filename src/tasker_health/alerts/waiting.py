"""What waits for the channels, in the ledger: bounded, and ordered for each incident."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from tasker_health.alerts import Action, Event
from tasker_health.alerts.ledger import MOST_BYTES, MOST_DONE, MOST_VOICES, Ledger, Waiting, size_of

_FEWEST_VOICES = 20
"""So many are kept for as long as anything else can be dropped."""

_OMITTED = {"omitted": "too much waits to keep the details"}


def enqueue(ledger: Ledger, channels: Collection[str], event: Event, now: float, most: int) -> dict[str, list[Event]]:
    """Have *event* wait for *channels*, at most *most* for each; return, by channel, what is dropped for it.

    An update that still waits when the next event of its incident comes is not dropped, but replaced by it.
    """
    ledger.events[event.id] = event
    dropped: dict[str, list[Event]] = {}
    for channel in channels:
        queue = ledger.waiting.setdefault(channel, [])
        if event.action is not Action.TRIGGER:
            queue[:] = [each for each in queue if not _is_replaced(ledger.events[each.event], event)]
        queue.append(Waiting(event=event.id, first_at=now))
        while len(queue) > most:
            dropped.setdefault(channel, []).extend(_shed(ledger, queue))
    _tidy(ledger)
    return dropped


def settle(ledger: Ledger, channel: str, settled: Collection[str], attempted: Collection[str] = ()) -> None:
    """Have what is *settled* wait no more for *channel*; count the attempt of what was *attempted* in vain."""
    queue, done = ledger.waiting.get(channel, []), ledger.done.setdefault(channel, [])
    done.extend(each for each in settled if each not in done)
    del done[:-MOST_DONE]
    ledger.waiting[channel] = [
        replace(each, attempts=each.attempts + 1) if each.event in attempted else each
        for each in queue
        if each.event not in settled
    ]
    _tidy(ledger)


def expire(ledger: Ledger, known: Collection[str], before: float) -> None:
    """Forget what has waited since *before* for channels that are not *known*: nobody is there who would drop it."""
    for channel, queue in ledger.waiting.items():
        if channel not in known:
            queue[:] = [each for each in queue if each.first_at >= before]
    _tidy(ledger)


def fit(ledger: Ledger, most_bytes: int = MOST_BYTES) -> dict[str, list[Event]]:
    """Make *ledger* small enough to be written; return, by channel, what is dropped for it.

    First the details of what waits longest go, then voices that nobody has heard for long, then events: all that fail
    say the same.
    """
    newest = sorted(ledger.voices, key=lambda name: ledger.voices[name].heard_at)[-MOST_VOICES:]
    ledger.voices = {name: ledger.voices[name] for name in newest}
    size = size_of(ledger)
    for name, event in ledger.events.items() if size > most_bytes else ():
        if size <= most_bytes:
            break
        size -= len(msgspec.json.encode(event.details)) - len(msgspec.json.encode(_OMITTED))
        ledger.events[name] = replace(event, details=_OMITTED)
    while size > most_bytes and len(newest) > _FEWEST_VOICES:
        newest = newest[len(newest) // 2 :]
        ledger.voices = {name: ledger.voices[name] for name in newest}
        size = size_of(ledger)
    dropped: dict[str, list[Event]] = {}
    while size > most_bytes and any(ledger.waiting.values()):
        channel = max(ledger.waiting, key=lambda name: len(ledger.waiting[name]))
        dropped.setdefault(channel, []).extend(_shed(ledger, ledger.waiting[channel]))
        _tidy(ledger)
        size = size_of(ledger)
    if size > most_bytes:
        ledger.voices = {name: ledger.voices[name] for name in newest[len(newest) // 2 :]}
    return dropped


def bring_back(ledger: Ledger, channel: str, mine: Sequence[Waiting], events: Mapping[str, Event]) -> None:
    """Have *mine* wait for *channel* again, each at its time, unless the channel needs it no more."""
    queue = ledger.waiting.setdefault(channel, [])
    known = {each.event for each in queue} | set(ledger.done.get(channel, ()))
    for each in mine:
        if each.event not in known:
            ledger.events[each.event] = events[each.event]
            queue.append(each)
    queue.sort(key=lambda each: each.first_at)


def _is_replaced(old: Event, new: Event) -> bool:
    return old.action is Action.UPDATE and old.dedup_key == new.dedup_key


def _shed(ledger: Ledger, queue: list[Waiting]) -> list[Event]:
    """Take out of *queue* what is missed least: an update, else an incident that is over, else the oldest beginning.

    The end of an incident whose beginning was told is the last to go: nothing would end it later.
    """
    events = [ledger.events[each.event] for each in queue]
    tried = {each.event for each in queue if each.attempts}
    gone = next(([each] for each in events if each.action is Action.UPDATE), None) or _pair(events, tried)
    gone = gone or next(([each] for each in events if each.action is Action.TRIGGER), None) or events[:1]
    ids = {each.id for each in gone}
    queue[:] = [each for each in queue if each.event not in ids]
    return gone


def _pair(events: Sequence[Event], tried: Collection[str]) -> list[Event] | None:
    """Return the oldest beginning whose end waits, too, with that end.

    What was *tried* may have been taken without a word: its end is needed.
    """
    triggers: dict[str, Event] = {}
    ends: list[tuple[int, list[Event]]] = []
    order = {each.id: number for number, each in enumerate(events)}
    for each in events:
        if each.action is Action.TRIGGER and each.id not in tried:
            triggers[each.dedup_key] = each
        elif each.action is Action.RESOLVE and each.dedup_key in triggers:
            begun = triggers.pop(each.dedup_key)
            ends.append((order[begun.id], [begun, each]))
    return min(ends, default=(0, None), key=lambda end: end[0])[1]


def _tidy(ledger: Ledger) -> None:
    """Forget events that wait for nobody."""
    needed = {each.event for queue in ledger.waiting.values() for each in queue}
    ledger.events = {name: event for name, event in ledger.events.items() if name in needed}
    ledger.waiting = {channel: queue for channel, queue in ledger.waiting.items() if queue}
