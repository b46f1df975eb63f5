"""Credentials that were right a moment ago."""

from __future__ import annotations

from fakes import FakeClock
from tasker_health.access.principal import Principal
from tasker_health.access.remembered import Remembered

ADA, BOB = Principal("ada"), Principal("bob")


def test_what_was_right_is_known_for_a_minute_since_it_was_last_sent():
    """Each use counts anew; afterwards it is forgotten."""
    clock = FakeClock()
    remembered = Remembered(clock)
    assert remembered.caller(b"ada:right") is None
    remembered.remember(b"ada:right", ADA)
    for _ in range(3):
        clock.move(59)
        assert remembered.caller(b"ada:right") is ADA
    clock.move(60)
    assert remembered.caller(b"ada:right") is None
    assert not remembered._callers


def test_other_credentials_are_not_those():
    """Neither another password, nor another name."""
    remembered = Remembered()
    remembered.remember(b"ada:right", ADA)
    remembered.remember(b"bob:right", BOB)
    assert remembered.caller(b"bob:right") is BOB
    assert remembered.caller(b"ada:wrong") is None
    assert remembered.caller(b"ada:righ") is None


def test_what_is_kept_tells_nothing_and_is_bounded():
    """A digest under a key of this process alone; of too many, those that came longest ago go."""
    one, two = Remembered(), Remembered()
    for each in (one, two):
        for number in range(300):
            each.remember(f"ada:{number}".encode(), ADA)
            assert each.caller(b"ada:0") is ADA  # still in use
    assert len(one._callers) == 256
    assert one.caller(b"ada:1") is None
    assert one.caller(b"ada:299") is ADA
    assert not set(one._callers) & set(two._callers)
    assert all(len(key) == 32 and b"ada" not in key for key in one._callers)
