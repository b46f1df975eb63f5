"""Which kind of work fails, and since when."""

from __future__ import annotations

from datetime import UTC, datetime

from tasker_health.blame import MOST_BLAMED, Blames
from tasker_health.work import Outcome

BEGIN = 1_000


def ends(handler, *by_minute, first=BEGIN, version=None):
    """Return outcomes of *handler*, completed and failed in each minute."""
    return tuple(Outcome(first + n, handler, "mail", version, good, bad) for n, (good, bad) in enumerate(by_minute))


def at(minute):
    """Return the moment at which *minute* begins."""
    return datetime.fromtimestamp(minute * 60, UTC)


def test_what_fails_is_named_with_the_minute_since_which_it_does():
    """From there on at least half of each minute's ends are failures; quiet minutes change nothing."""
    outcomes = ends("pay", (9, 1), (2, 2), (0, 0), (0, 3)) + ends("send", (5, 0), (5, 0))
    (blame,) = Blames().see(outcomes, 1.0)
    assert (blame.handler, blame.queue, blame.version, blame.failed, blame.settled) == ("pay", "mail", None, 6, 17)
    assert blame.since == at(BEGIN + 1)


def test_what_mostly_ends_well_fails_since_nothing():
    """It is named all the same, as it does fail."""
    (blame,) = Blames().see(ends("pay", (0, 5), (9, 1)), 1.0)
    assert (blame.failed, blame.since) == (6, None)


def test_versions_are_told_apart():
    """The new one fails and the old one does not: that is the whole point."""
    outcomes = ends("pay", (9, 0), version="1") + ends("pay", (0, 9), version="2")
    assert [each.version for each in Blames().see(outcomes, 1.0)] == ["2"]


def test_it_is_remembered_beyond_what_a_reading_tells():
    """While it goes on; an hour later it is still since then, and after a good minute since later."""
    blames = Blames()
    for minute in range(60):
        first = max(0, minute - 14)
        window = ends("pay", *[(0, 1)] * (minute - first + 1), first=BEGIN + first)
        (blame,) = blames.see(window, float(minute))
    assert blame.since == at(BEGIN)
    (blame,) = blames.see(ends("pay", (0, 1), (5, 1), (0, 1), first=BEGIN + 58), 60.0)
    assert blame.since == at(BEGIN + 60)


def test_the_worst_come_first_and_not_too_many():
    """Five at most."""
    outcomes = tuple(each for number in range(20) for each in ends(f"h{number}", (0, number)))
    told = Blames().see(outcomes, 1.0)
    assert [each.failed for each in told] == [19, 18, 17, 16, 15]
    assert len(told) == MOST_BLAMED


def test_what_no_longer_fails_is_forgotten():
    """So its memory is as large as what a reading tells."""
    blames = Blames()
    assert blames.see(ends("pay", (0, 1)), 1.0)
    assert blames.see((), 2.0) == []
    (blame,) = blames.see(ends("pay", (0, 1), first=BEGIN + 100), 3.0)
    assert blame.since == at(BEGIN + 100)
