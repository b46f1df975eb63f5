"""What stands still: who is asked, who is believed, and what is told when some cannot say."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from fakes import FakeClock, FakeSource
from tasker_health.errors import SourceFault
from tasker_health.meaning import what_to_do_about, why_stuck
from tasker_health.model import Reason
from tasker_health.stuck.commands import what_to_do
from tasker_health.stuck.reporter import Stuck
from tasker_health.stuck.telling import for_anybody
from tasker_health.work import MOST_STUCK, Cause, Findings, StuckTask
from tasker_health.workers import Beat, RunningTask, Worker, Workers, WorkerState


class Explains(FakeSource):
    """Finds what it is told to."""

    roster = None

    def __init__(self, found, name="shop", engine="dbos"):
        super().__init__(name=name)
        self.found, self.engine, self.asked = found, engine, 0
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def stuck(self, deadline_seconds, most):
        """Return it, or raise it."""
        self.asked += 1
        await self.hangs.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Knows:
    """A roster that answers what it is told to."""

    def __init__(self, *workers):
        self.workers = workers

    async def read(self, deadline_seconds):
        """Return everybody."""
        return Workers(self.workers)


def task(number, cause=Cause.WORKER_DEAD, since=100.0, **more):
    """Return a task that stands still."""
    return StuckTask(id=f"t{number}", cause=cause, state="running", since=since, **more)


def worker(name, *ids, state=WorkerState.DEAD, engine="dbos", count=None):
    """Return a worker with what it runs."""
    running = tuple(RunningTask(each, "pay", None, 3.0) for each in ids)
    many = len(ids) if count is None else count
    beat = Beat(
        worker_id=name, engine=engine, host="node-7", pid=42, running=running, running_count=many, period_seconds=5
    )
    return Worker(beat, 1_000.0, 60.0, state)


def reported(*sources, roster=None, clock=None, **more):
    """Return what is reported of *sources*."""
    return asyncio.run(Stuck(sources, clock or FakeClock(), deadline_seconds=30, roster=roster, **more).report())


def test_the_surest_cause_comes_first_and_then_the_oldest():
    """Whichever source says it; one whose age is not known comes last of its cause."""
    one = Findings(
        tasks=(task(1, Cause.RUNNING_LONG), task(2, since=None), task(3, since=200.0)),
        causes={Cause.RUNNING_LONG: 1, Cause.WORKER_DEAD: 2},
    )
    other = Findings(tasks=(task(4, since=150.0),), causes={Cause.WORKER_DEAD: 7})
    report = reported(Explains(one), Explains(other, "mail", "celery"))
    assert [each.id for each in report.stuck] == ["t4", "t3", "t2", "t1"]
    assert [each.source for each in report.stuck] == ["mail", "shop", "shop", "shop"]
    assert report.causes == {Cause.WORKER_DEAD: 9, Cause.RUNNING_LONG: 1}
    assert (report.total, report.truncated) == (10, True)
    encoded = msgspec.json.decode(msgspec.json.encode(report))
    assert encoded["stuck"][0]["since"] == "1970-01-01T00:02:30Z"
    assert encoded["stuck"][2]["since"] is None
    assert encoded["workers"] == {"alive": None, "stalled": None, "dead": None, "dead_workers": []}


def test_a_source_that_fails_is_told_by_its_reason_and_the_rest_is_answered():
    """Then nobody knows how many there are altogether; words of the fault do not leave."""
    fault = SourceFault(Reason.UNKNOWN_VERSION, "secret words")
    good = Explains(Findings(tasks=(task(1),), causes={Cause.WORKER_DEAD: 1}))
    report = reported(good, Explains(fault, "mail"), FakeSource(name="own"))
    assert [each.id for each in report.stuck] == ["t1"]
    assert report.total is None
    assert msgspec.to_builtins(report.sources) == {
        "shop": {"answered": True},
        "mail": {"answered": False, "reason": "unknown_version"},
        "own": {"answered": False},
    }
    assert b"secret" not in msgspec.json.encode(report)


def test_a_source_that_hangs_costs_its_deadline():
    """It is `timeout`, and the others are answered."""

    async def scene():
        hung = Explains(Findings(), "mail")
        hung.hangs.clear()
        good = Explains(Findings(tasks=(task(1),), causes={Cause.WORKER_DEAD: 1}))
        return await Stuck([hung, good], FakeClock(), deadline_seconds=0.05).report()

    report = asyncio.run(scene())
    assert report.sources["mail"].reason is Reason.TIMEOUT
    assert [each.id for each in report.stuck] == ["t1"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"tasks": []},
        Findings(causes={"worker_dead": 1}),
        Findings(causes={Cause.LOCKED: -1}),
        Findings(causes={Cause.LOCKED: True}),
        Findings(causes=5),
        Findings(tasks=("t1",)),
        Findings(tasks=None),
    ],
    ids=str,
)
def test_what_is_no_finding_is_not_believed(answer):
    """A source of the user's that answers something else is `invalid`, and no fault of the endpoint."""
    assert reported(Explains(answer)).sources["shop"].reason in {Reason.INVALID, Reason.ERROR}


def test_a_flood_is_bounded():
    """However many tasks of however long names: so many are told, and all are counted."""
    tasks = tuple(task(number, name="n" * 10_000, queue="\udc80") for number in range(20_000))
    report = reported(Explains(Findings(tasks=tasks, causes={Cause.WORKER_DEAD: 20_000})))
    assert len(report.stuck) == MOST_STUCK
    assert report.truncated
    assert report.total == 20_000
    assert len(msgspec.json.encode(report)) < 100_000


def test_a_flood_of_askers_costs_one_question():
    """Those who ask meanwhile wait for the same answer; those who ask soon after get it as it was."""
    clock, source = FakeClock(), Explains(Findings())

    async def scene():
        stuck = Stuck([source], clock, deadline_seconds=30, heartbeat_seconds=10)
        first = await asyncio.gather(*(stuck.report() for _ in range(50)))
        clock.move(4.9)
        second = await stuck.report()
        asked = source.asked
        clock.move(0.2)
        third = await stuck.report()
        return first, second, asked, third

    first, second, asked, third = asyncio.run(scene())
    assert asked == 1
    assert {id(each) for each in (*first, second)} == {id(second)}
    assert third is not second
    assert source.asked == 2


def test_what_a_dead_worker_ran_is_told_by_the_source_of_its_engine():
    """The source knows whether it still stands: what the last heartbeat names beyond that is over."""
    found = Findings(tasks=(task(1, worker="w1"),), causes={Cause.WORKER_DEAD: 1})
    report = reported(Explains(found), roster=Knows(worker("w1", "t1", "t2"), worker("w2", state=WorkerState.ALIVE)))
    assert [each.id for each in report.stuck] == ["t1"]
    assert report.total == 1
    assert (report.workers.alive, report.workers.stalled, report.workers.dead) == (1, 0, 1)
    assert report.workers.dead_workers[0].running == ["t1", "t2"]


def test_without_a_source_it_is_told_from_the_heartbeat_and_said_so():
    """`confirmed` is false: whether it still stands nobody could ask."""
    report = reported(Explains(Findings()), roster=Knows(worker("w1", "c1", "c2", engine="celery", count=5)))
    assert [(each.id, each.confirmed, each.source, each.engine) for each in report.stuck] == [
        ("c1", False, None, "celery"),
        ("c2", False, None, "celery"),
    ]
    assert report.causes == {Cause.WORKER_DEAD: 5}
    assert report.total == 5
    assert report.truncated


def test_when_one_of_two_sources_of_an_engine_is_away_the_heartbeat_tells_the_rest():
    """What the other one has told is not told twice."""
    good = Explains(Findings(tasks=(task(1),), causes={Cause.WORKER_DEAD: 1}), "shop")
    away = Explains(SourceFault(Reason.TIMEOUT, "away"), "mail")
    report = reported(good, away, roster=Knows(worker("w1", "t1", "m1")))
    assert [(each.id, each.source) for each in report.stuck] == [("t1", "shop"), ("m1", None)]
    assert report.causes == {Cause.WORKER_DEAD: 2}
    assert report.total is None


def test_who_cannot_read_the_heartbeats_calls_nobody_dead():
    """Neither counts nor names are told then, and the sources are."""

    class Broken:
        async def read(self, deadline_seconds):
            raise RuntimeError("canary")

    report = reported(Explains(Findings()), roster=Broken())
    assert (report.workers.alive, report.workers.dead, report.total) == (None, None, 0)


def test_names_of_hosts_and_workers_are_not_for_everybody():
    """Who may see no details sees what stands still, and not where."""
    found = Findings(tasks=(task(1, worker="w1@node-7"),), causes={Cause.WORKER_DEAD: 1})
    report = reported(Explains(found), roster=Knows(worker("w1@node-7", "t1")))
    assert b"node-7" in msgspec.json.encode(report)
    told = msgspec.json.encode(for_anybody(report))
    assert b"node-7" not in told
    assert b'"t1"' in told


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_words(cause):
    """One sentence each; the engine's own means go before the general one."""
    for words in (why_stuck(cause), what_to_do_about(cause), what_to_do(cause, None)):
        assert words.endswith(".")
    assert "DBOS.resume_workflow" in what_to_do(Cause.WORKER_DEAD, "dbos")
