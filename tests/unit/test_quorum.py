"""Replicas that fail together stay ready together."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import UNSET

from fakes import FakeClock, settings_of, shared_of
from tasker_health.cache.memory import MemoryCache
from tasker_health.clock import timestamp
from tasker_health.model import CheckResult, CheckStatus, Reason
from tasker_health.quorum import FRESH_SECONDS, Quorum, Told, Voice
from tasker_health.readiness import verdict

WELL = CheckResult(status=CheckStatus.OK)
AWAY = CheckResult(status=CheckStatus.ERROR, reason=Reason.REFUSED)
NOT_RUN = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.NOT_RUN)


def report_of(**results):
    """Return the verdict over critical checks."""
    return verdict(results, dict.fromkeys(results, True), timestamp(0))


class Fleet:
    """Replicas that share a cache."""

    def __init__(self, replicas, share=0.5):
        self.clock = FakeClock()
        self.cache = MemoryCache(self.clock.monotonic)
        self.replicas = [self.replica(share) for _ in range(replicas)]

    def replica(self, share=0.5):
        """Return one more."""
        settings = settings_of(health={} if share is None else {"readiness_quorum": share})
        return Quorum(settings, shared_of(self.cache, self.clock), self.clock)

    def say(self, *reports):
        """Have each replica see its report, and tell the others twice: the first hears the last then."""
        for replica, report in zip(self.replicas, reports, strict=True):
            replica.agree(report)

        async def turns():
            for _ in range(2):
                for replica in self.replicas:
                    await replica.turn()

        asyncio.run(turns())
        return [replica.agree(report) for replica, report in zip(self.replicas, reports, strict=True)]


def test_what_fails_everywhere_takes_nobody_out():
    """All stay ready; the check is listed as degraded, with its status and its reason as they are."""
    told = Fleet(3).say(*[report_of(database=AWAY, migrations=WELL)] * 3)
    for report in told:
        assert report.ready
        assert report.failed_checks is UNSET
        assert report.degraded_checks == ["database"]
        assert report.checks["database"] == AWAY


@pytest.mark.parametrize(("failing", "ready"), [(1, False), (2, False), (3, True), (5, True)])
def test_the_share_decides(failing, ready):
    """At a half of five, two are taken out, and three are not: those that are well stay ready anyway."""
    reports = [report_of(database=AWAY)] * failing + [report_of(database=WELL)] * (5 - failing)
    told = Fleet(5).say(*reports)
    assert [report.ready for report in told] == [ready] * failing + [True] * (5 - failing)


def test_one_alone_is_no_quorum():
    """Neither a single replica, nor one beside another that is well, however small the share."""
    assert not Fleet(1, 0.01).say(report_of(database=AWAY))[0].ready
    assert not Fleet(2, 0.01).say(report_of(database=AWAY), report_of(database=WELL))[0].ready


def test_different_troubles_do_not_add_up():
    """Each check is counted by itself; who has another one that fails for him alone is not ready."""
    both, one = report_of(database=AWAY, disk=AWAY), report_of(database=AWAY, disk=WELL)
    assert [each.ready for each in Fleet(3).say(both, one, one)] == [False, True, True]
    told = Fleet(2).say(report_of(database=AWAY, queue=WELL), report_of(database=WELL, queue=AWAY))
    assert not any(each.ready for each in told)


@pytest.mark.parametrize("name", ["configuration", "event_loop", "server"])
def test_what_is_of_this_process_is_no_shared_trouble(name):
    """A bad setting, a loop that stalls, a process that drains: each takes itself out."""
    assert not any(each.ready for each in Fleet(3).say(*[report_of(**{name: AWAY})] * 3))


def test_what_has_not_run_is_no_failure():
    """Replicas that have just begun know nothing of a dependency yet."""
    assert not any(each.ready for each in Fleet(3).say(*[report_of(database=NOT_RUN)] * 3))


def test_who_is_not_heard_any_more_does_not_count():
    """After fifteen seconds without a word from the others this one is alone, and not ready."""
    fleet = Fleet(3)
    report = report_of(database=AWAY)
    fleet.say(report, report, report)
    fleet.clock.move(FRESH_SECONDS + 1)
    assert not fleet.replicas[0].agree(report).ready


def test_it_ends_with_the_trouble():
    """When the others are well again, the one that still fails is taken out."""
    fleet = Fleet(3)
    fleet.say(*[report_of(database=AWAY)] * 3)
    told = fleet.say(report_of(database=AWAY), report_of(database=WELL), report_of(database=WELL))
    assert [each.ready for each in told] == [False, True, True]


def test_without_a_cache_it_is_as_before():
    """A cache that does not answer tells of nobody: not ready."""
    fleet = Fleet(3)

    async def away(*_arguments):
        raise OSError("away")

    fleet.cache.get = fleet.cache.put = fleet.cache.acquire = away
    assert not any(each.ready for each in fleet.say(*[report_of(database=AWAY)] * 3))


def test_a_flood_of_replicas_is_bounded():
    """A document of as many voices as there may be is heard; who adds himself forgets the oldest."""
    fleet = Fleet(1)
    voices = {f"{number:016x}": Voice(seconds=1.0 + number / 100, failing=["database"]) for number in range(500)}
    asyncio.run(fleet.replicas[0]._document.save(Told(voices), 60))
    (told,) = fleet.say(report_of(database=AWAY))
    assert told.ready
    assert len(fleet.replicas[0]._heard) == 500


def test_it_is_off_by_default():
    """Without the setting nothing is asked and nothing changes."""
    quorum = Fleet(1, None).replicas[0]
    report = report_of(database=AWAY)
    assert quorum.agree(report) is report

    async def begin():
        quorum.start()
        assert quorum._task is None

    asyncio.run(begin())
