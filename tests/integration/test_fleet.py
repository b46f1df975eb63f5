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


def judged(fleet: Fleet, since: float) -> Judgement:
    """Return what is true of all answers since then: it holds whatever the machine does meanwhile."""
    judgement = Judgement(fleet, since, time.monotonic(), time_to_live=TIME_TO_LIVE_SECONDS)
    print(judgement)  # noqa: T201
    assert judgement.wrong == []
    assert judgement.faults == []
    return judgement


def test_twenty_processes_read_the_source_once_a_time_to_live(fleet: Fleet):
    """11 readings in 10 s at most, no facts older than their time to live and one refresh, every answer true.

    A machine that stands still for longer than the time-out of the cache makes each process read for itself: then
    once more.
    """
    for _ in range(3):
        troubles, since = fleet.troubles, time.monotonic()
        fleet.run(10)
        judgement = judged(fleet, since)
        if fleet.troubles == troubles:
            break
    assert fleet.troubles == troubles, fleet.log
    assert judgement.answers > 1000
    assert 5 <= judgement.reads <= 1.1 * judgement.seconds, judgement
    refresh_seconds = judgement.read_seconds + REFRESH_SECONDS + max(judgement.late)
    assert max(judgement.ages) <= TIME_TO_LIVE_SECONDS + refresh_seconds, judgement


def test_a_process_killed_while_it_reads_costs_one_more_second(fleet: Fleet):
    """Its lease ends by itself and another process reads; everybody else is answered meanwhile, and truly."""
    fleet.counter.seconds = READING_SECONDS
    began_at = time.monotonic()
    silences = [fleet.kill_the_reader(after_seconds) for after_seconds in (0, 0.1, 0.28)]
    fleet.run(1)
    print("seconds until another one read:", sorted(silences))  # noqa: T201
    judgement = judged(fleet, began_at)
    starved_seconds = max(judgement.late)
    assert max(silences) <= 1 + starved_seconds + WAYS_SECONDS
    # The dead one's part of a reading, a second, the reading of its heir, and the look for what that tells.
    refresh_seconds = READING_SECONDS + REFRESH_SECONDS + starved_seconds
    assert max(judgement.ages) <= TIME_TO_LIVE_SECONDS + 0.28 + 1 + refresh_seconds + starved_seconds, judgement
