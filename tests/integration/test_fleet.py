"""One refresh for the fleet: twenty real processes, one cache, clocks minutes apart, and deaths."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from caches import RedisServer
from integration.fleet import Fleet, Judgement, running

TIME_TO_LIVE_SECONDS = 1
REFRESH_SECONDS = 0.25
"""What a refresh takes besides the reading: the rarest look for what another process tells."""

READING_SECONDS = 0.4
"""What a reading takes where somebody is to die in the middle of it."""

WAYS_SECONDS = 0.1
"""How long questions to a Redis take that is asked by twenty processes on two cores."""

SLACK_SECONDS = 0.3
"""By how much ages of twenty processes on two cores may be off: what was told is on its way meanwhile."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Twenty processes that share a Redis, asked since 2 s: every one has found its place."""
    server = RedisServer()
    try:
        with running(
            TASKER_CACHE__URL=server.url, TASKER_HEALTH__CACHE_DURATION_SECONDS=str(TIME_TO_LIVE_SECONDS)
        ) as fleet:
            fleet.run(2)
            yield fleet
    finally:
        server.end()


def judged(fleet: Fleet, seconds: float) -> Judgement:
    """Return what is true of the next *seconds*."""
    since = time.monotonic()
    fleet.run(seconds)
    until = time.monotonic()
    return Judgement(fleet, since, until, time_to_live=TIME_TO_LIVE_SECONDS, slack=SLACK_SECONDS)


def test_twenty_processes_read_the_source_once_a_time_to_live(fleet: Fleet):
    """11 readings in 10 s at most, no facts older than their time to live and one refresh, every answer true."""
    judgement = judged(fleet, 10)
    print(judgement)  # noqa: T201
    assert judgement.answers > 1000
    assert 5 <= judgement.reads <= 1.1 * judgement.seconds
    assert judgement.wrong == []
    assert judgement.faults == []
    refresh_seconds = judgement.read_seconds + REFRESH_SECONDS + max(judgement.late)
    assert max(judgement.ages) <= TIME_TO_LIVE_SECONDS + refresh_seconds, judgement


def test_a_process_killed_while_it_reads_costs_one_more_second(fleet: Fleet):
    """Its lease ends by itself and another process reads; everybody else is answered meanwhile, and truly."""
    fleet.counter.seconds = READING_SECONDS
    began_at = time.monotonic()
    silences = [fleet.kill_the_reader(after_seconds) for after_seconds in (0, 0.1, 0.28)]
    fleet.run(1)
    judgement = Judgement(fleet, began_at, time.monotonic(), time_to_live=TIME_TO_LIVE_SECONDS, slack=SLACK_SECONDS)
    print("seconds until another one read:", sorted(silences), judgement)  # noqa: T201
    assert judgement.wrong == []
    assert judgement.faults == []
    starved_seconds = max(judgement.late)
    assert max(silences) <= 1 + starved_seconds + WAYS_SECONDS
    # The dead one's part of a reading, a second, the reading of its heir, and the look for what that tells.
    refresh_seconds = READING_SECONDS + REFRESH_SECONDS + starved_seconds
    assert max(judgement.ages) <= TIME_TO_LIVE_SECONDS + 0.28 + 1 + refresh_seconds + starved_seconds, judgement
