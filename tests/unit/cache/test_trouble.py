"""The trouble of a cache: what is told of it, for how long, and what of that is news."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from tasker_health.cache.trouble import Trouble
from tasker_health.model import Reason

AWAY = [Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE, Reason.TOO_MANY_CONNECTIONS]


@pytest.fixture
def said(caplog):
    """What has been logged since it was asked the last time."""

    def news() -> list[str]:
        messages = caplog.messages.copy()
        caplog.clear()
        return messages

    return news


@pytest.fixture
def clock():
    """A clock that goes on when it is told to."""
    return FakeClock()


def test_a_change_is_logged_once(said, clock):
    """The same again is no news, another reason is, and so is the end of all."""
    trouble = Trouble("redis", clock)
    trouble.answered("get")
    assert (trouble.reason, said()) == (None, [])
    for _ in range(3):
        trouble.seen("get", Reason.TIMEOUT, "no answer")
    assert (trouble.reason, said()) == (Reason.TIMEOUT, ["cache redis: get (timeout): no answer"])
    trouble.seen("get", Reason.REFUSED, "nobody there")
    assert (trouble.reason, said()) == (Reason.REFUSED, ["cache redis: get (refused): nobody there"])
    for _ in range(3):
        trouble.answered("get")
    assert (trouble.reason, said()) == (None, ["cache redis: well again"])


@pytest.mark.parametrize("reason", AWAY)
def test_any_answer_ends_what_was_the_way_there(said, reason, clock):
    """The end of a lease is asked rarely: its failure is not told for longer than the cache is away."""
    trouble = Trouble("redis", clock)
    trouble.seen("release", reason, "")
    trouble.seen("acquire", reason, "")
    trouble.answered("get")
    assert trouble.reason is None
    assert said()[-1] == "cache redis: well again"


@pytest.mark.parametrize("reason", AWAY)
def test_a_refusal_ends_what_was_the_way_there(said, reason, clock):
    """A cache that was restarted with another password says so: that is why now, whatever the restart had cost."""
    trouble = Trouble("redis", clock)
    trouble.seen("put", reason, "")
    trouble.seen("get", Reason.AUTHENTICATION_FAILED, "wrong password")
    assert trouble.reason is Reason.AUTHENTICATION_FAILED
    assert said()[-1] == "cache redis: get (authentication_failed): wrong password"
    trouble.seen("put", reason, "")
    assert trouble.reason is Reason.AUTHENTICATION_FAILED


def test_a_cache_that_can_be_read_and_not_written_stays_in_trouble(said, clock):
    """Until it is written again; then leases, which failed for the same reason, are well too."""
    trouble = Trouble("redis", clock)
    trouble.seen("put", Reason.READ_ONLY, "")
    trouble.seen("acquire", Reason.READ_ONLY, "")
    said()
    for _ in range(3):
        trouble.answered("get")
    assert (trouble.reason, said()) == (Reason.READ_ONLY, [])
    trouble.answered("put")
    assert (trouble.reason, said()) == (None, ["cache redis: well again"])


def test_what_was_found_stays_until_it_is_found_well(said, clock):
    """Answers to other questions say nothing of an entry that was not ours."""
    trouble = Trouble("redis", clock)
    trouble.seen("entry shop", Reason.INVALID, "not an entry")
    trouble.seen("put", Reason.READ_ONLY, "")
    trouble.answered("get")
    trouble.answered("put")
    trouble.well("entry bank")
    assert trouble.reason is Reason.INVALID
    assert len(said()) == 2
    trouble.well("entry shop")
    trouble.well("entry shop")
    assert (trouble.reason, said()) == (None, ["cache redis: well again"])


def test_a_full_cache_that_has_room_for_one_thing_stays_in_trouble(said, clock):
    """One that takes a small value by chance, and not the next, is not well: not before a while without a refusal."""
    trouble = Trouble("memcached", clock)
    trouble.seen("put", Reason.ERROR, "out of memory")
    clock.move(0.5)
    trouble.seen("acquire", Reason.ERROR, "out of memory")
    said()
    clock.move(0.5)
    trouble.answered("put")
    assert (trouble.reason, said()) == (Reason.ERROR, [])
    trouble.seen("put", Reason.ERROR, "out of memory")
    clock.move(0.3)
    trouble.answered("put")
    assert (trouble.reason, said()[-1:]) == (None, ["cache memcached: well again"])
