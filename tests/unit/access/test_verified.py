"""Tokens that were verified a moment ago: for how long, how many, and with which keys."""

from __future__ import annotations

from fakes import FakeClock
from tasker_health.access.jwks import KeySet
from tasker_health.access.principal import Principal
from tasker_health.access.verified import LONGEST_SECONDS, MOST_TOKENS, VerifiedTokens

KEYS = KeySet([])
OPS = Principal("ops")


def test_a_token_is_remembered_until_it_ends():
    """Not beyond its own end, even if the clock of the machine is set back meanwhile."""
    clock = FakeClock()
    verified = VerifiedTokens(clock)
    verified.keep("t", OPS, KEYS, clock.now() + 5)
    assert verified.get("t", KEYS) is OPS
    clock.move(4.9)
    assert verified.get("t", KEYS) is OPS
    clock.time -= 1000
    clock.running += 0.1
    assert verified.get("t", KEYS) is None
    assert len(verified) == 0


def test_a_token_is_remembered_for_a_minute_at_most():
    """However long it lasts, and however often it is sent."""
    clock = FakeClock()
    verified = VerifiedTokens(clock)
    verified.keep("t", OPS, KEYS, clock.now() + 1e9)
    for _ in range(6):
        assert verified.get("t", KEYS) is OPS
        clock.move(LONGEST_SECONDS / 6)
    assert verified.get("t", KEYS) is None


def test_a_token_that_has_ended_is_not_remembered():
    """It could end while it is verified."""
    verified = VerifiedTokens(FakeClock(100.0))
    verified.keep("t", OPS, KEYS, 100.0)
    assert len(verified) == 0


def test_other_keys_forget_everything():
    """Whoever was known by a key that is withdrawn is not known any more."""
    clock = FakeClock()
    verified = VerifiedTokens(clock)
    verified.keep("t", OPS, KEYS, clock.now() + 60)
    assert verified.get("t", KeySet([])) is None
    assert verified.get("t", KEYS) is None
    verified.keep("t", OPS, KEYS, clock.now() + 60)
    verified.keep("u", OPS, KeySet([]), clock.now() + 60)
    assert len(verified) == 1


def test_there_are_never_too_many_and_the_least_lately_used_goes_first():
    """A caller with many tokens costs a bounded memory."""
    clock = FakeClock()
    verified = VerifiedTokens(clock)
    for number in range(MOST_TOKENS):
        verified.keep(f"t{number}", OPS, KEYS, clock.now() + 60)
    assert verified.get("t0", KEYS) is OPS
    verified.keep("one more", OPS, KEYS, clock.now() + 60)
    assert len(verified) == MOST_TOKENS
    assert verified.get("t0", KEYS) is OPS
    assert verified.get("t1", KEYS) is None


def test_no_token_is_kept():
    """What the memory of the process shows is a digest under a key of this very process."""
    clock = FakeClock()
    verified, other = VerifiedTokens(clock), VerifiedTokens(clock)
    for each in (verified, other):
        each.keep("token", OPS, KEYS, clock.now() + 60)
    assert b"token" not in b"".join(verified._by_digest)
    assert set(verified._by_digest).isdisjoint(other._by_digest)
