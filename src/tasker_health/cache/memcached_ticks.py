"""The time of Memcached: what it means that its clock is one of whole seconds.

It looks at the time once in a second and a little, and takes the whole part. Between two moments it goes on by at least
as many ticks as it has looked; and because it looks ever later in the second, it goes on by two at once, about twice in
an hour. Between moments *d* seconds apart it goes on by less than *d* + 2. So an age is one tick more than were
counted, by the longest that a tick may take, and less than three seconds (and a hundredth of it) above the truth; and
what is to live for some seconds is given two ticks more, never ends before, and is gone at most two seconds late, and
one more for a part of a second.
"""

from __future__ import annotations

import math

from tasker_health.cache.memcached_wire import Reply
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

MOST_ABOVE_SECONDS = 3.0
"""By how much an age may be above the truth."""

_TICK_SECONDS = 1.01
"""Longest time between two looks; 1.0006 s was measured, and a busy machine looks later."""

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


def age_of(reply: Reply, kind: int) -> float:
    """Return how many seconds ago what *reply* tells of was put there, at most.

    Raises:
        CacheFault: It is not ours, or its end was changed.
    """
    found, given = divmod(reply.number("f"), 1 << _GIVEN_BITS)
    left = reply.number("t")
    if found != kind:
        raise CacheFault(Reason.INVALID, "what lies under this key is not ours")
    if not 0 <= left <= given:
        raise CacheFault(Reason.INVALID, "what lies under this key has not the end that we gave it")
    return (given - left + 1) * _TICK_SECONDS
