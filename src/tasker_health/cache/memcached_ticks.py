"""The time of Memcached: what it means that its clock is one of whole seconds.

A tick comes once in a second and a little, and about twice in an hour the clock goes on by two: it is the whole part of
a time that is looked at ever later in the second. Between two moments that are *d* seconds apart it goes on by more
than *d* - 1 and by less than *d* + 2 ticks. So an age is one second more than the ticks that were counted, and less
than three more than the truth; and what is to live for some seconds is given two ticks more, never ends before, and is
gone at most two seconds late, and one more for a part of a second.
"""

from __future__ import annotations

import math

from tasker_health.cache.memcached_wire import Reply
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

MOST_ABOVE_SECONDS = 3.0
"""By how much an age may be above the truth."""

_EARLY_TICKS = 2
"""By how many ticks what is kept may end early, of those that it was given."""

_MOST_TICKS = 30 * 24 * 3600
"""Longest life: what is more, Memcached takes for a date."""

# The client flags of what is ours: ten bits say what it is, and 22 how many ticks it was given.
_GIVEN_BITS = 22
ENTRY, LEASE = 0x2D4, 0x2D5


def life(seconds: float, kind: int) -> str:
    """Return the flags of what is to live for *seconds*, at most 30 days: its end, and for its age what that was."""
    ticks = min(math.ceil(seconds) + _EARLY_TICKS, _MOST_TICKS)
    return f"T{ticks} F{kind << _GIVEN_BITS | ticks}"


def ticks_since(reply: Reply, kind: int) -> int:
    """Return how many ticks ago what *reply* tells of was put there.

    Raises:
        CacheFault: It is not ours, or its end was changed.
    """
    found, given = divmod(reply.number("f"), 1 << _GIVEN_BITS)
    left = reply.number("t")
    if found != kind:
        raise CacheFault(Reason.INVALID, "what lies under this key is not ours")
    if not 0 <= left <= given:
        raise CacheFault(Reason.INVALID, "what lies under this key has not the end that we gave it")
    return given - left
