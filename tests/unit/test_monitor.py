"""The heart: who waits for what, what is answered from where, and how old it is."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock, FakeSource, facts_of, settings_of, shared_of
from tasker_health.checks import FunctionCheck
from tasker_health.errors import CheckDegraded, CheckFailed, MonitorLoopError
from tasker_health.model import Reason, StatusReason
from tasker_health.monitor import Monitor


class Scene:
    """A monitor with fake sources, checks that count, and a clock that stands still."""

    def __init__(self, *sources: FakeSource, checks=(), **health: object) -> None:
        self.clock = FakeClock()
        self.sources = sources
        self.monitor = Monitor(
            settings_of(health=health).health,
            checks=list(checks),
            sources=list(sources),
            shared=shared_of(clock=self.clock),
            clock=self.clock,
        )

    async def status(self):
        """Return the status now."""
        return await self.monitor.status()


def test_liveness_is_one_value_a_second_and_asks_nobody():
    """The same object serves a whole second, and it is as the contract says."""
    scene = Scene()
    first = scene.monitor.live()
    scene.clock.move(0.3)
    assert scene.monitor.live() is first
    scene.clock.move(1)
    second = scene.monitor.live()
    assert second is not first
    assert (second.alive, second.service) == (True, "tasker")
    assert (second.timestamp - first.timestamp).total_seconds() == 1


def test_one_run_of_the_checks_serves_everybody_within_its_age():
    """100 askers at once and all that come within a second share one run."""
    runs = 0

    async def count():
        nonlocal runs
        runs += 1

    async def play():
        scene = Scene(checks=[FunctionCheck("count", count)])
        reports = await asyncio.gather(*(scene.monitor.ready() for _ in range(100)))
        scene.clock.move(0.9)
        reports.append(await scene.monitor.ready())
        within = runs
        scene.clock.move(0.2)
        await scene.monitor.ready()
        return within, len({id(report) for report in reports})

    assert asyncio.run(play()) == (1, 1)
    assert runs == 2


def test_critical_checks_decide_and_optional_ones_are_listed():
    """`failed_checks` names what keeps traffic away, `degraded_checks` what does not."""

    def refuse():
        raise CheckFailed(Reason.REFUSED)

    def lag():
        raise CheckDegraded(Reason.AHEAD)

    async def play(*, critical):
        checks = [
            FunctionCheck("well", lambda: None),
            FunctionCheck("lagging", lag),
            FunctionCheck("away", refuse, critical=critical),
        ]
        return await Scene(checks=checks).monitor.ready()

    strict = asyncio.run(play(critical=True))
    assert (strict.ready, strict.failed_checks, strict.degraded_checks) == (False, ["away"], ["lagging"])
    lenient = asyncio.run(play(critical=False))
    assert (lenient.ready, lenient.failed_checks or None) == (True, None)
    assert lenient.degraded_checks == ["lagging", "away"]
    assert list(lenient.checks) == ["well", "lagging", "away"]


def test_one_check_can_be_asked_for_and_decides_even_when_optional():
    """`/ready/<check>` is about that check alone, from the same run."""

    def refuse():
        raise CheckFailed(Reason.REFUSED)

    async def play():
        scene = Scene(checks=[FunctionCheck("away", refuse, critical=False), FunctionCheck("well", lambda: None)])
        whole, away, well = [await scene.monitor.ready(name) for name in (None, "away", "well")]
        with pytest.raises(KeyError):
            await scene.monitor.ready("nothing")
        return whole, away, well

    whole, away, well = asyncio.run(play())
    assert whole.ready
    assert (away.ready, away.failed_checks, list(away.checks)) == (False, ["away"], ["away"])
    assert (well.ready, list(well.checks), well.timestamp) == (True, ["well"], whole.timestamp)


def test_startup_waits_for_what_was_declared():
    """It is over when everything that was waited for is done."""
    scene = Scene()
    assert scene.monitor.startup().started
    scene.monitor.wait_for("warm_up")
    scene.monitor.wait_for("migrate")
    scene.monitor.done("migrate")
    report = scene.monitor.startup()
    assert (report.started, report.waiting_for) == (False, ["warm_up"])
    scene.monitor.done("warm_up")
    assert scene.monitor.startup().started


def test_the_cache_info_is_true_of_each_response():
    """Readers get `cached` false, later askers true with the age; the expiry is the reading plus the duration."""

    async def play():
        source = FakeSource()
        scene = Scene(source)
        first = await scene.status()
        scene.clock.move(3.5)
        second = await scene.status()
        scene.clock.move(0.2)
        third = await scene.status()
        scene.clock.move(11.2)
        fourth = await scene.status()
        scene.clock.move(0.8)
        fifth = await scene.status()
        return source, first, second, third, fourth, fifth

    source, first, second, third, fourth, fifth = asyncio.run(play())
    assert [each.cache_info.cached for each in (first, second, third, fourth, fifth)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert [each.cache_info.age_seconds for each in (first, second, third, fourth, fifth)] == [0, 3, 3, 14, 0]
    assert second is third
    assert second.timestamp == first.timestamp
    assert (second.cache_info.cache_expires_at - second.timestamp).total_seconds() == 15
    assert fifth.timestamp > first.timestamp
    assert source.reads == 2


def test_many_first_askers_share_one_reading_and_none_was_cached():
    """100 concurrent first requests: one reading; all of them waited for it, so `cached` is false for all."""

    async def play():
        source = FakeSource()
        source.gate.clear()
        scene = Scene(source)
        askers = [asyncio.create_task(scene.status()) for _ in range(100)]
        await asyncio.sleep(0)
        askers[0].cancel()
        await asyncio.sleep(0)
        source.gate.set()
        reports = await asyncio.gather(*askers[1:])
        return source.reads, reports

    reads, reports = asyncio.run(play())
    assert reads == 1
    assert {report.cache_info.cached for report in reports} == {False}


def test_while_the_facts_are_read_again_others_get_the_old_ones_with_their_true_age():
    """Facts that are renewed as soon as they are due keep nobody waiting; who gets the old ones is told so."""

    async def play():
        source = FakeSource()
        scene = Scene(source)
        await scene.status()
        scene.clock.move(15.4)
        source.gate.clear()
        source.facts = facts_of(failed=99)
        first, old = await scene.status(), await scene.status()
        assert first.cache_info == old.cache_info
        source.gate.set()
        while scene.monitor._status._readers[0]._refresh.in_flight:
            await asyncio.sleep(0)
        return scene.clock.now(), old, await scene.status()

    now, old, fresh = asyncio.run(play())
    assert (old.cache_info.cached, old.cache_info.stale, old.cache_info.age_seconds) == (True, True, 15)
    assert old.cache_info.cache_expires_at.timestamp() == int(now - 0.4)
    assert old.system_health.failed_tasks == 13
    assert (fresh.cache_info.cached, fresh.cache_info.age_seconds, fresh.system_health.failed_tasks) == (True, 0, 99)


def test_facts_that_were_old_when_they_were_answered_are_said_to_be():
    """A source that answers what it counted before tells their age; nobody has waited for them."""

    async def play():
        return await Scene(FakeSource(facts_of(age_seconds=40.0))).status()

    report = asyncio.run(play())
    assert (report.cache_info.cached, report.cache_info.stale, report.cache_info.age_seconds) == (True, True, 40)
    assert report.timestamp.timestamp() == FakeClock().now() - 40


def test_after_an_idle_hour_the_first_askers_all_wait_for_the_facts():
    """Facts older than the time to live by more than one refresh are not served while they can be read."""

    async def play():
        source = FakeSource()
        scene = Scene(source)
        await scene.status()
        scene.clock.move(3600)
        source.gate.clear()
        askers = [asyncio.create_task(scene.status()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        source.gate.set()
        return await asyncio.gather(*askers)

    assert {report.cache_info.cached for report in asyncio.run(play())} == {False}


def test_a_failure_is_not_kept_as_if_it_were_facts():
    """Every asker tries again; old facts are served as degraded, then as unhealthy, then as healthy again."""

    async def play():
        source = FakeSource()
        scene = Scene(source)
        await scene.status()
        source.fault = Reason.REFUSED
        scene.clock.move(20)
        first, second = await scene.status(), await scene.status()
        reads = source.reads
        scene.clock.move(41)
        too_old = await scene.status()
        source.fault = None
        return first, second, reads, too_old, await scene.status()

    first, second, reads, too_old, again = asyncio.run(play())
    assert reads == 3
    assert (first.status, first.reasons) == ("degraded", [StatusReason.SOURCE_UNREADABLE])
    assert (first.cache_info.cached, first.cache_info.stale, first.cache_info.age_seconds) == (True, True, 20)
    assert second.sources["shop"].reason is Reason.REFUSED
    assert (too_old.status, too_old.reasons) == (
        "unhealthy",
        [StatusReason.SOURCE_UNREADABLE, StatusReason.FACTS_STALE],
    )
    assert too_old.system_health.total_tasks == 1250
    assert too_old.timestamp == first.timestamp
    assert (again.status, again.reasons, again.cache_info.cached) == ("healthy", [], False)


@pytest.mark.parametrize(("age", "expected"), [(60, ("healthy", [])), (61, ("unhealthy", [StatusReason.FACTS_STALE]))])
def test_facts_that_are_too_old_are_so_however_well_they_are_read(age, expected):
    """A source may answer what it counted long ago, while it counts again: that is no fault, and may be too old."""
    report = asyncio.run(Scene(FakeSource(facts_of(age_seconds=age))).status())
    assert (report.status, report.reasons) == expected
    assert report.cache_info.age_seconds == age


def test_facts_never_read_are_null_and_unhealthy():
    """Never read: figures null, timestamp now, nothing cached."""

    async def play():
        source = FakeSource()
        source.fault = Reason.UNKNOWN_VERSION
        scene = Scene(source)
        return scene, await scene.status()

    scene, report = asyncio.run(play())
    assert (report.status, report.reasons) == ("unhealthy", [StatusReason.SOURCE_UNREADABLE])
    assert report.system_health.total_tasks is None
    assert report.performance_metrics.retry_success_rate is None
    assert report.timestamp.timestamp() == int(scene.clock.now())
    assert (report.cache_info.cached, report.cache_info.cache_expires_at) == (False, None)
    assert report.sources["shop"].reason is Reason.UNKNOWN_VERSION


def test_without_a_source_the_status_is_degraded_and_says_so():
    """No source configured: figures null, `degraded`, `no_source`."""
    report = asyncio.run(Scene().status())
    assert (report.status, report.reasons) == ("degraded", [StatusReason.NO_SOURCE])
    assert report.system_health.total_tasks is None
    assert report.cache_info.cache_expires_at is None


def test_a_cache_duration_of_zero_reads_each_time_and_has_no_expiry():
    """Duration 0: no cache, expiry `null`."""

    async def play():
        source = FakeSource()
        scene = Scene(source, cache_duration_seconds=0)
        return [await scene.status() for _ in range(3)], source.reads

    reports, reads = asyncio.run(play())
    assert reads == 3
    assert {(each.cache_info.cached, each.cache_info.cache_expires_at) for each in reports} == {(False, None)}


def test_a_source_that_hangs_costs_the_status_its_deadline():
    """Even one that ignores its own deadline is given up."""

    async def play():
        source = FakeSource()
        source.gate.clear()
        return await Scene(source, status_timeout_seconds=0.01).status()

    report = asyncio.run(play())
    assert (report.status, report.sources["shop"].reason) == ("unhealthy", Reason.TIMEOUT)


def test_a_monitor_serves_one_event_loop_and_may_be_started_again_in_another():
    """After `stop` it closes its sources and can be used in a new loop; two running loops are refused."""
    source = FakeSource()
    scene = Scene(source)

    async def once():
        report = await scene.status()
        await scene.monitor.stop()
        return report.cache_info.cached

    assert [asyncio.run(once()), asyncio.run(once())] == [False, False]
    assert (source.reads, source.closed) == (2, 2)

    async def outer():
        await scene.status()
        with pytest.raises(MonitorLoopError):
            await asyncio.to_thread(asyncio.run, scene.monitor.start())

    asyncio.run(outer())


def test_old_facts_of_one_source_beside_new_ones_of_another_are_said_to_be_stale():
    """Two sources: the whole is as old as its oldest part, and says so."""

    async def play():
        first, second = FakeSource(name="a"), FakeSource(name="b")
        scene = Scene(first, second)
        await scene.status()
        first.fault = Reason.REFUSED
        scene.clock.move(20)
        return await scene.status()

    info = asyncio.run(play()).cache_info
    assert (info.cached, info.stale, info.age_seconds) == (True, True, 20)


def test_ages_are_those_of_the_moment_when_the_answer_is_made():
    """A slow second source does not make the first one's facts younger."""

    async def play():
        first, second = FakeSource(name="a"), FakeSource(name="b")
        scene = Scene(first, second, cache_duration_seconds=2)
        await scene.status()
        scene.clock.move(1)
        second.gate.clear()
        scene.monitor._status._readers[1]._newest = None
        asker = asyncio.create_task(scene.status())
        for _ in range(5):
            await asyncio.sleep(0)
        scene.clock.move(1.7)
        second.gate.set()
        return await asker

    info = asyncio.run(play()).cache_info
    assert (info.age_seconds, info.stale) == (2, True)


def test_while_reading_fails_askers_get_the_last_facts_soon():
    """Only the first asker waits for a source that hangs; the next ones are served at once, and it is tried behind."""

    async def play():
        source = FakeSource()
        scene = Scene(source, status_timeout_seconds=0.05)
        await scene.status()
        scene.clock.move(20)
        source.gate.clear()
        first = await scene.status()
        began = asyncio.get_running_loop().time()
        later = [await scene.status() for _ in range(3)]
        took = asyncio.get_running_loop().time() - began
        source.gate.set()
        return first, later, took

    first, later, took = asyncio.run(play())
    assert {report.reasons[0] for report in [first, *later]} == {StatusReason.SOURCE_UNREADABLE}
    assert {report.system_health.total_tasks for report in later} == {1250}
    assert took < 20


@pytest.mark.parametrize("answer", [None, {}, "facts", facts_of(pending=-5), facts_of(running=1.5)])
def test_what_is_no_facts_is_never_cached(answer):
    """A source of the user's that answers something else is unreadable, and asked again."""

    async def play():
        source = FakeSource()
        source.facts = answer
        scene = Scene(source)
        reports = [await scene.status() for _ in range(2)]
        return reports, source.reads

    reports, reads = asyncio.run(play())
    assert {report.sources["shop"].reason for report in reports} == {Reason.INVALID}
    assert reads == 2


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
def test_a_source_that_would_end_the_application_is_unreadable(error):
    """Whatever it raises."""

    class Ending(FakeSource):
        async def read(self, deadline_seconds):
            raise error

    assert asyncio.run(Scene(Ending()).status()).reasons == [StatusReason.SOURCE_UNREADABLE]


def test_who_asks_while_it_is_stopped_gets_an_answer():
    """`stop` ends what runs; the askers are told, not cancelled."""

    async def play():
        source = FakeSource()
        source.gate.clear()

        async def hang():
            await asyncio.Event().wait()

        scene = Scene(source, checks=[FunctionCheck("hangs", hang)], readiness_timeout_seconds=30)
        askers = [asyncio.create_task(scene.monitor.ready()), asyncio.create_task(scene.status())]
        for _ in range(5):
            await asyncio.sleep(0)
        await scene.monitor.stop()
        return await asyncio.gather(*askers)

    ready, status = asyncio.run(play())
    assert (ready.ready, ready.checks["hangs"].reason) == (False, Reason.DRAINING)
    assert status.sources["shop"].reason is Reason.DRAINING


def test_a_group_is_asked_for_by_its_name():
    """`/ready/<group>`: its checks alone, decided by its critical ones, from the same run."""

    def refuse():
        raise CheckFailed(Reason.REFUSED)

    async def play():
        checks = [
            FunctionCheck("disk", lambda: None, groups=("storage",)),
            FunctionCheck("bucket", refuse, critical=False, groups=("storage", "cloud")),
            FunctionCheck("queue", refuse, groups=("cloud",)),
        ]
        scene = Scene(checks=checks)
        return [await scene.monitor.ready(name) for name in ("storage", "cloud", None)], scene.monitor.check_names

    (storage, cloud, whole), names = asyncio.run(play())
    assert (storage.ready, list(storage.checks), storage.degraded_checks) == (True, ["disk", "bucket"], ["bucket"])
    assert (cloud.ready, cloud.failed_checks) == (False, ["queue"])
    assert storage.timestamp == whole.timestamp
    assert names == ["disk", "bucket", "queue", "storage", "cloud"]


def test_a_loop_that_lags_degrades_and_a_draining_server_is_unready():
    """`event_loop` degraded keeps it ready; draining makes it 503 at once, with the last checks beside."""

    async def play():
        scene = Scene(checks=[FunctionCheck("well", lambda: None)])
        scene.monitor.lags = lambda: True
        lagging = await scene.monitor.ready()
        scene.monitor.drain()
        return lagging, await scene.monitor.ready(), scene.monitor.kept_readiness.until

    lagging, draining, kept_until = asyncio.run(play())
    assert (lagging.ready, lagging.degraded_checks) == (True, ["event_loop"])
    assert lagging.checks["event_loop"].reason is Reason.STALLED
    assert (draining.ready, draining.failed_checks) == (False, ["server"])
    assert draining.checks["server"].reason is Reason.DRAINING
    assert draining.checks["well"].status == "ok"
    assert kept_until < 0
