"""Twenty processes and one cache for a minute, and ten deaths: the promise of the issue in full, on each back end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from caches import MemcachedServer, RedisServer
from integration.fleet import Judgement, running
from servers import PostgresServer

SECONDS = 60
DEATHS = 10
READING_SECONDS = 0.4


class Kind(NamedTuple):
    """A cache under test.

    Attributes:
        server: What is started.
        time_to_live: Of the facts, in seconds.
        coarse: By how much ages may be above the truth, in seconds.
        most_reads: How many readings a minute may cost.
    """

    server: Callable[[], Any]
    time_to_live: int
    coarse: float
    most_reads: int


KINDS = {
    "redis": Kind(RedisServer, 1, 0, 66),
    "sql": Kind(PostgresServer, 1, 0, 66),
    # Its ages are up to 3 s above the truth, so facts that last 15 s are sometimes renewed after 12.
    "memcached": Kind(MemcachedServer, 15, 3, 6),
}


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_one_refresh_for_twenty_processes_for_a_minute(name):
    """As often read as one process would, nothing too old, every answer true; a death while reading costs a second."""
    kind = KINDS[name]
    server = kind.server()
    url = {"TASKER_CACHE__URL": server.url}
    if name == "sql":
        url = {"TASKER_CACHE__URL": "sql://", "TASKER_DATABASE__URL": server.url}
    try:
        with running(**url, TASKER_HEALTH__CACHE_DURATION_SECONDS=str(kind.time_to_live)) as fleet:
            fleet.run(2)
            since = time.monotonic()
            fleet.run(SECONDS)
            judgement = _judged(fleet, since, kind)
            print(f"\n{name}: {judgement}")  # noqa: T201
            assert judgement.reads <= kind.most_reads
            refresh_seconds = judgement.read_seconds + 0.25 + max(judgement.late)
            assert max(judgement.ages) <= kind.time_to_live + refresh_seconds
            if name == "memcached":
                return  # its leases end up to 3 s late, and a death each 15 s would take minutes
            fleet.counter.seconds = READING_SECONDS
            since = time.monotonic()
            silences = [fleet.kill_the_reader(READING_SECONDS * 0.8 * number / DEATHS) for number in range(DEATHS)]
            judgement = _judged(fleet, since, kind)
            print(f"seconds from a death to the next reading: {sorted(silences)}; {judgement}")  # noqa: T201
            assert max(silences) <= 1.1 + max(judgement.late)
    finally:
        server.end()


def _judged(fleet, since, kind):
    judgement = Judgement(fleet, since, time.monotonic(), time_to_live=kind.time_to_live, coarse=kind.coarse)
    assert judgement.wrong == []
    assert judgement.faults == []
    return judgement
