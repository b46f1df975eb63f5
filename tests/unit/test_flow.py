"""How work flows: rates, time to drain, too many queues, and whether nothing moves at all."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fakes import facts_of
from tasker_health.flow import MOST_QUEUES, Progress, flow_report, queue_reports
from tasker_health.work import Outcome, QueueFlow

LATE, NOW = 900, 1_000_000.0


@pytest.mark.parametrize(
    ("arrived", "ended", "ready", "seconds", "drains"),
    [
        (60, 120, 10, 600, True),
        (120, 60, 10, None, False),
        (60, 60, 10, None, False),
        (60, 0, 0, 0, True),
        (None, None, 0, 0, True),
        (None, 120, 10, None, None),
        (60, 120, None, None, None),
    ],
)
def test_when_a_queue_is_drained(arrived, ended, ready, seconds, drains):
    """By more that ends than arrives; never said of what is not known."""
    told = flow_report(QueueFlow(arrived=arrived, ended=ended, ready=ready), 3600)
    assert (told.seconds_to_drain, told.drains) == (seconds, drains)
    assert told.arrivals_per_minute == (None if arrived is None else arrived / 60)
    assert told.completions_per_minute == (None if ended is None else ended / 60)


def test_too_many_queues_become_one():
    """Those with most ready tasks are told apart; nothing of the others is lost, and what is unknown stays so."""
    queues = {f"q{number}": QueueFlow(ready=number, arrived=1, oldest_ready_seconds=number) for number in range(100)}
    told = queue_reports(queues, 60)
    assert len(told) == MOST_QUEUES
    assert sum(each.ready_tasks for each in told.values()) == sum(range(100))
    assert told["other"].oldest_ready_seconds == 100 - MOST_QUEUES
    assert told["other"].arrivals_per_minute == 101 - MOST_QUEUES
    assert told["other"].completions_per_minute is None


def waiting(seconds=LATE, outcomes=(), ready=5, completed=0):
    """Return facts with work that has been ready for so long."""
    facts = facts_of(completed=completed)
    return replace(facts, flow=QueueFlow(ready=ready, oldest_ready_seconds=seconds), outcomes=outcomes)


def test_one_reading_alone_says_nothing():
    """Two say it; two that show an end take it back."""
    progress, ended = Progress(LATE), (Outcome(int(NOW // 60), None, None, None, 1, 0),)
    assert not progress.see(waiting(), NOW)
    assert not progress.see(waiting(), NOW)
    assert progress.see(waiting(), NOW + 15)
    assert progress.see(waiting(outcomes=ended), NOW + 30)
    assert progress.see(waiting(), NOW + 45)
    assert progress.see(waiting(outcomes=ended), NOW + 60)
    assert not progress.see(waiting(outcomes=ended), NOW + 75)


@pytest.mark.parametrize(
    "facts",
    [
        waiting(ready=0),
        waiting(ready=None),
        waiting(LATE - 1),
        waiting(None),
        waiting(outcomes=(Outcome(int((NOW - 890) // 60), None, None, None, 0, 1),)),
        facts_of(),
    ],
    ids=["no work", "unknown", "young", "of unknown age", "something failed", "no flow"],
)
def test_it_is_not_said_of(facts):
    """What has no work that could be taken, or work that ends, if badly; and not of what cannot be known."""
    progress = Progress(LATE)
    assert not any(progress.see(facts, NOW + number) for number in range(10))


def test_without_outcomes_it_is_watched_for_the_whole_time():
    """An end begins it anew; tasks that are deleted are none."""
    progress = Progress(LATE)
    readings = [(number * 60.0, 100 if number < 5 else 101 if number < 10 else 40) for number in range(30)]
    said = [at for at, ended in readings if progress.see(waiting(outcomes=None, completed=ended), NOW + at)]
    assert said[0] == 5 * 60 + LATE + 60


def test_a_clock_that_was_set_back_begins_anew():
    """Nothing is said too early, and it is not deaf until the old time comes again."""
    progress = Progress(LATE)
    for at in (0.0, 600.0, -5_000.0, -4_400.0):
        assert not progress.see(waiting(outcomes=None), NOW + at)
    assert not progress.see(waiting(outcomes=None), NOW - 4_100.0)
    assert progress.see(waiting(outcomes=None), NOW - 4_000.0)
