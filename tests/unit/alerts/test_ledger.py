"""The ledger: what is believed of it, what waits in it, and what is merged."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tasker_health.alerts import Action, Event, Severity
from tasker_health.alerts.incidents import Incident
from tasker_health.alerts.ledger import MOST_BYTES, Ledger, Voice, Waiting, begun, is_believable, shifted, size_of
from tasker_health.alerts.merging import merged
from tasker_health.alerts.waiting import enqueue, expire, fit, settle


def event(name, action=Action.TRIGGER, rule="r", **details):
    """Return an event of that id."""
    return Event(
        id=name,
        action=action,
        dedup_key=f"tasker-health/shop/{rule}",
        rule=rule,
        severity=Severity.ERROR,
        summary="it is so",
        details=details,
        service="shop",
        at=2.0,
        since=1.0,
    )


def incident(*, is_open=True, held=True, seen_at=10.0, for_seconds=0.0):
    """Return what is known of a rule."""
    return Incident(
        is_open=is_open,
        held=held,
        seen_at=seen_at,
        for_seconds=for_seconds,
        since=1.0,
        severity=Severity.ERROR,
        summary="it is so",
        figures="",
        told_at=seen_at,
    )


def ledger_of(*events, most=100, **fields):
    """Return a ledger in which *events* wait for two channels."""
    ledger = replace(begun(10.0), **fields)
    for number, each in enumerate(events):
        enqueue(ledger, ["one", "two"], each, 10.0 + number, most)
    return ledger


def waiting(ledger, channel="one"):
    """Return the ids of what waits."""
    return [each.event.id for each in ledger.queue(channel)]


def nested(depth):
    """Return lists in lists."""
    return [] if depth == 0 else [nested(depth - 1)]


UPDATE, RESOLVE = Action.UPDATE, Action.RESOLVE


def test_an_update_is_replaced_by_what_comes_after_it():
    """By another update and by the end of its incident, not by those of others."""
    ledger = ledger_of(event("a"), event("b", UPDATE), event("c", UPDATE, "other"), event("d", UPDATE))
    assert waiting(ledger) == ["a", "c", "d"]
    enqueue(ledger, ["one"], event("e", RESOLVE), 20.0, 100)
    assert waiting(ledger) == ["a", "c", "e"]
    assert waiting(ledger, "two") == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("events", "left", "dropped"),
    [
        ([event("a", rule="1"), event("b", UPDATE, "2"), event("c", rule="3")], ["a", "c"], ["b"]),
        ([event("a", rule="1"), event("b", rule="2"), event("c", RESOLVE, "2")], ["a"], ["b", "c"]),
        ([event("a", RESOLVE, "1"), event("b", rule="1"), event("c", rule="2")], ["a", "c"], ["b"]),
        ([event("a", RESOLVE, "1"), event("b", RESOLVE, "2"), event("c", RESOLVE, "3")], ["b", "c"], ["a"]),
    ],
)
def test_a_full_queue_drops_what_is_missed_least(events, left, dropped):
    """Updates, then what is over, then beginnings; an end whose beginning was told is the last to go."""
    ledger = ledger_of(*events[:-1])
    gone = enqueue(ledger, ["one", "two"], events[-1], 20.0, 2)
    assert waiting(ledger) == left
    assert [each.id for each in gone["one"]] == dropped
    assert set(ledger.events) == set(left)


def test_the_end_of_what_was_tried_is_kept():
    """Its beginning was perhaps taken without a word: without an end it would be open there for ever."""
    ledger = ledger_of(event("a"), event("b", RESOLVE))
    settle(ledger, "one", (), {"a"})
    enqueue(ledger, ["one", "two"], event("c", rule="other"), 20.0, 2)
    assert waiting(ledger) == ["b", "c"]
    assert waiting(ledger, "two") == ["c"]


def test_voices_go_before_pages():
    """In a large fleet everything fails everywhere: what all say alike costs no page."""
    said = {f"check:{'x' * 40}{number}": Severity.CRITICAL for number in range(30)}
    ledger = ledger_of(event("a"), voices={f"p{number}": Voice(heard_at=number, said=said) for number in range(100)})
    assert fit(ledger) == {}
    assert size_of(ledger) <= MOST_BYTES
    assert waiting(ledger) == ["a"]
    assert "p99" in ledger.voices


def test_what_is_settled_waits_no_more_and_attempts_are_counted():
    """For that channel alone; an event that waits for nobody is forgotten."""
    ledger = ledger_of(event("a"), event("b", rule="2"))
    settle(ledger, "one", {"a"}, {"b"})
    assert waiting(ledger) == ["b"]
    assert ledger.queue("one")[0].attempts == 1
    assert waiting(ledger, "two") == ["a", "b"]
    settle(ledger, "two", {"a", "b"})
    assert set(ledger.events) == {"b"}


def test_a_channel_that_is_gone_keeps_nothing_for_ever():
    """What waits for one that no settings name goes with its time; that of others stays."""
    ledger = ledger_of(event("a"), event("b", rule="2"))
    expire(ledger, {"one"}, before=11.0)
    assert waiting(ledger) == ["a", "b"]
    assert waiting(ledger, "two") == ["b"]


@pytest.mark.parametrize("size", [10, 4000])
def test_a_ledger_is_never_too_large_to_be_written(size):
    """A thousand events: details go first, then events; it is counted what was dropped."""
    ledger = begun(10.0)
    for number in range(1000):
        enqueue(ledger, ["one"], event(f"{number:05}", rule=str(number), words="x" * size), 10.0, 10_000)
    dropped = fit(ledger)
    assert size_of(ledger) <= MOST_BYTES
    assert len(waiting(ledger)) + len(dropped.get("one", [])) == 1000
    assert is_believable(ledger)


def test_times_are_relative():
    """Shifted there and back it is the same, and shares nothing that changes."""
    ledger = ledger_of(event("a"), incidents={"r": incident()}, voices={"p": Voice(heard_at=3.0, said={})})
    moved = shifted(ledger, 1000.0)
    assert shifted(moved, -1000.0) == ledger
    assert moved.queue("one")[0].first_at == 1010.0
    assert moved.begun_at == 1010.0
    assert moved.incidents["r"].seen_at == moved.incidents["r"].told_at == 1010.0
    assert moved.voices["p"].heard_at == 1003.0
    settle(moved, "one", {"a"})
    assert waiting(ledger) == ["a"]


LEDGER = ledger_of(event("a"), incidents={"r": incident()}, voices={"p": Voice(heard_at=3.0, said={"r": None})})


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": -1},
        {"lineage": "x" * 2000},
        {"begun_at": 1e300},
        {"begun_at": float("nan")},
        {"waiting": {"one": [Waiting(event="nobody", first_at=0.0)]}},
        {"waiting": {"one": [Waiting(event="a", first_at=0.0, attempts=-1)]}},
        {"incidents": {str(number): incident() for number in range(101)}},
        {"incidents": {"r": incident(for_seconds=-1.0)}},
        {"voices": {str(number): Voice(heard_at=0.0, said={}) for number in range(201)}},
        {"voices": {"p": Voice(heard_at=0.0, said={str(number): None for number in range(101)})}},
        {"events": {"a": replace(event("a"), dedup_key="x" * 256)}},
        {"events": {"a": replace(event("a"), dedup_key="")}},
        {"events": {"a": replace(event("a"), dedup_key="a\nb")}},
        {"events": {"a": replace(event("a"), summary="x" * 2000)}},
        {"events": {"a": replace(event("a"), since=5.0)}},
        {"events": {"a": replace(event("a"), at=9e15)}},
        {"events": {"a": replace(event("a"), rule="r\n2026 ERROR all is lost")}},
        {"events": {"a": replace(event("a"), details={"a": nested(900)})}},
        {"incidents": {"r": replace(incident(), since=1e300)}},
        {"incidents": {"r": replace(incident(), summary="\x1b[2J")}},
        {"incidents": {"\x1b[2J": incident()}},
        {"voices": {"p": Voice(heard_at=0.0, said={"r\n": None})}},
        {"dropped": {"one": {"\x1b[2J": 1}}},
        {"events": {"a": event("b")}},
    ],
)
def test_what_none_of_us_could_have_written_is_not_believed(wrong):
    """Each bound is looked at."""
    assert is_believable(LEDGER)
    assert not is_believable(replace(LEDGER, **wrong))


def test_a_successor_is_taken_as_it_is():
    """What it has not, is over."""
    theirs = replace(begun(0.0), lineage=LEDGER.lineage, version=3)
    assert merged(theirs, LEDGER, 20.0, is_ahead=False) is theirs


@pytest.mark.parametrize("how", ["another beginning", "an older one", "ours could not be written", "nothing"])
def test_what_only_this_process_knows_is_not_lost(how):
    """What is open and what waits is added, and nothing ends at once."""
    mine = replace(shifted(LEDGER, 0.0), version=5, incidents={"r": incident(held=False, for_seconds=290.0)})
    theirs = replace(begun(0.0), version=9)
    if how != "another beginning":
        theirs.lineage = mine.lineage
    if how == "an older one":
        theirs.version = 4
    is_ahead = how == "ours could not be written"
    result = merged(None if how == "nothing" else theirs, mine, 20.0, is_ahead=is_ahead)
    assert waiting(result) == waiting(result, "two") == ["a"]
    assert result.incidents["r"].is_open
    assert result.incidents["r"].for_seconds == 0.0
    assert "p" in result.voices
    if how == "an older one":
        assert (result.version, result.begun_at) == (5, 20.0)
    if how == "nothing":
        assert result.begun_at == 20.0
        assert result.lineage != mine.lineage


def test_what_goes_on_there_is_not_ended_from_here():
    """Theirs says that it is open: neither our end of it nor our beginning is told."""
    theirs = replace(begun(0.0), incidents={"r": incident(seen_at=11.0)})
    for waits in (event("x", RESOLVE), event("y")):
        assert waiting(merged(theirs, ledger_of(waits), 20.0, is_ahead=True)) == []


def test_what_a_channel_has_taken_is_not_brought_back():
    """It was sent by another process while this one was cut off."""
    theirs = replace(begun(0.0), done={"one": ["a"]})
    result = merged(theirs, ledger_of(event("a")), 20.0, is_ahead=True)
    assert waiting(result) == []
    assert waiting(result, "two") == ["a"]


@pytest.mark.parametrize("action", Action)
def test_what_is_done_is_not_sent_again(action):
    """Somebody has kept an old ledger and puts it back: what was told from it pages nobody, and ends no page."""
    old = replace(ledger_of(event("a", action)), version=3)
    mine = replace(shifted(old, 0.0), version=4)
    settle(mine, "one", {"a"})
    result = merged(old, mine, 20.0, is_ahead=False)
    assert waiting(result) == []
    assert waiting(result, "two") == ["a"]


def test_an_older_ledger_takes_no_page_away():
    """It says that the incident is open; that one has ended since, and of its successor nothing was told."""
    old = replace(begun(0.0), version=3, incidents={"r": incident()})
    mine = replace(ledger_of(event("b")), lineage=old.lineage, version=9, incidents={"r": incident(seen_at=19.0)})
    assert waiting(merged(old, mine, 20.0, is_ahead=False)) == ["b"]


def test_of_two_that_agree_the_one_seen_later_counts():
    """A cache that is read and cannot be written shows the same old one again and again: here it goes on."""
    mine = replace(begun(0.0), incidents={"r": incident(is_open=False, seen_at=15.0, for_seconds=45.0)})
    theirs = replace(begun(0.0), incidents={"r": incident(is_open=False, seen_at=10.0)})
    assert merged(theirs, mine, 20.0, is_ahead=True).incidents["r"].for_seconds == 45.0


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_rubbish_is_no_ledger(body):
    """It is refused, not raised."""
    try:
        found = msgspec.json.decode(body, type=Ledger)
    except (msgspec.MsgspecError, ValueError):
        return
    assert is_believable(found) in {True, False}
