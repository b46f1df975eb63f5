"""The source `dbos` beside heartbeats of workers: who is dead, for what nobody works, and what waits behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import dbos_history
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Rows
from contract.dbos_backend import DbosBackend, DbosOnPostgres, DbosOnSqlite
from contract.dbos_recount import Recount
from tasker_health.model import Facts
from tasker_health.sources.dbos import DbosSource
from tasker_health.work import BLOCKING, MOST_STUCK, Cause, Findings
from tasker_health.workers import Beat, RunningTask, Worker, Workers, WorkerState

MINUTE = dbos_history.MINUTE


def worker(
    owner: str,
    state: WorkerState,
    *,
    version: str | None = None,
    queues: tuple[str, ...] = (),
    runs: tuple[str, ...] = (),
    more: int = 0,
    number: int = 0,
) -> Worker:
    """Return a worker as a roster tells of it; *more* of what it runs it does not name."""
    running = tuple(RunningTask(name, "order", None, 1.0) for name in runs)
    beat = Beat(
        worker_id=f"{owner}-{number}",
        engine="dbos",
        host="here",
        pid=number,
        version=version,
        queues=queues,
        running=running,
        running_count=len(running) + more,
        period_seconds=5,
        owner_id=owner,
    )
    return Worker(beat, 0.0, 0.0, state)


ALIVE, DEAD = WorkerState.ALIVE, WorkerState.DEAD
_TASKS = st.lists(st.sampled_from([f"task-{number}" for number in range(7)]), max_size=3, unique=True).map(tuple)
_WORKERS = st.builds(
    worker,
    st.sampled_from(["lives", "died", "local"]),
    st.sampled_from([*WorkerState, DEAD]),
    version=st.sampled_from(["v1", "v2", None]),
    queues=st.sampled_from([(), ("orders",), ("mail", "orders")]),
    runs=_TASKS,
    more=st.sampled_from([0, 0, 3]),
    number=st.integers(1, 9),
)
_ROSTERS = st.none() | st.lists(_WORKERS, max_size=4).map(lambda several: Workers(tuple(several)))
_ALIVE = ("running", "enqueued", "delayed", "backoff", "recovered", "dead_letter", "succeeded")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def tables(request: pytest.FixtureRequest) -> DbosBackend:
    """DBOS' tables."""
    if request.param == "postgresql":
        return DbosOnPostgres(request.getfixturevalue("postgres"))
    folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("dbos")
    return DbosOnSqlite(folder)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def source(tables: DbosBackend, runner: asyncio.Runner) -> Iterator[DbosSource]:
    """A source that asks a roster which says what the tables' `workers` are."""
    source = tables.source()
    yield source
    runner.run(source.close())


def _told(
    tables: DbosBackend, source: DbosSource, runner: asyncio.Runner, history: Rows, workers: Workers | None
) -> tuple[Facts, Findings, Recount]:
    """Return what the source says of *history* and of *workers*, which a recount has been compared with."""
    tables.clear()
    tables.workers = workers
    now_ms = tables.now_ms()
    tables.write(history, now_ms)
    facts, findings = runner.run(source.read(30)), runner.run(source.stuck(30, MOST_STUCK))
    raw = tables.raw()
    assert tables.differences(facts, raw, now_ms) == {}
    windows = (WINDOW_SECONDS * 1000, STUCK_AFTER_SECONDS * 1000)
    rows = (raw["workflow_status"], raw["operation_outputs"])
    return facts, findings, Recount(*rows, round(now_ms), *windows, queues=raw["queues"], workers=workers)


@settings(max_examples=40)
@given(history=dbos_history.histories(endings=_ALIVE), workers=_ROSTERS)
def test_what_stands_still_is_what_a_recount_finds(
    history: Rows, workers: Workers | None, tables: DbosBackend, source: DbosSource, runner: asyncio.Runner
):
    """Each task has the cause that the definitions give it, beside any workers, living and dead; each is named."""
    facts, findings, recount = _told(tables, source, runner, history, workers)
    standing = {(task["workflow_uuid"], cause) for task in recount.tasks if (cause := recount.cause(task))}
    letters = [each for each in recount.tasks if each["status"] == "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
    named = {(task.id, task.cause) for task in findings.tasks if task.state != "failed"}
    assert named == standing
    assert {task.id for task in findings.tasks if task.state == "failed"} == {each["workflow_uuid"] for each in letters}
    assert findings.causes == {**(facts.causes or {}), Cause.RETRIES_EXHAUSTED: len(letters)}
    blocked = sum(cause in BLOCKING for _, cause in standing)
    assert facts.blocked == (blocked if workers is not None and workers.all else None)


def _life(name: str, *, queue: str | None = "orders", executor: str = "died", version: str = "v1") -> dict[str, object]:
    life = dbos_history.Life(name, -2 * MINUTE)
    assert life.task is not None
    return life.task | {"queue_name": queue, "executor_id": executor, "application_version": version}


def _history(*tasks: dict[str, object]) -> Rows:
    return {"workflow_status": list(tasks), "operation_outputs": []}


def _causes(findings: Findings) -> dict[str, Cause]:
    return {task.id: task.cause for task in findings.tasks}


def test_what_waits_behind_the_dead_is_told(tables: DbosBackend, source: DbosSource, runner: asyncio.Runner):
    """Two orphans hold both places of a queue: both are `worker_dead`, and what waits behind them is `locked`."""
    waits = _life("waits") | {"status": "ENQUEUED"}
    workers = Workers((worker("died", DEAD), worker("lives", ALIVE, version="v1")))
    history = _history(_life("one"), _life("two"), waits)
    facts, findings, _ = _told(tables, source, runner, history, workers)
    assert _causes(findings) == {"one": Cause.WORKER_DEAD, "two": Cause.WORKER_DEAD, "waits": Cause.LOCKED}
    assert facts.blocked == 3
    assert facts.queues is not None
    assert facts.queues["orders"].ready == 0
    history = _history(_life("one"), _life("two", executor="lives"), waits)
    _, findings, _ = _told(tables, source, runner, history, workers)
    assert _causes(findings) == {"one": Cause.WORKER_DEAD}, "the place of the living one will be free again"


def test_one_of_several_processes_of_one_name_is_dead(tables: DbosBackend, source: DbosSource, runner: asyncio.Runner):
    """Of the name that all have who are given none, only what a dead one had, and no living one has, is orphaned."""
    tasks = [_life(name, executor="local") for name in ("lost", "kept", "unknown")]
    dead = worker("local", DEAD, runs=("lost",), number=1)
    living = worker("local", ALIVE, runs=("kept",), number=2)
    _, findings, _ = _told(tables, source, runner, _history(*tasks), Workers((dead, living)))
    assert _causes(findings) == {"lost": Cause.WORKER_DEAD}
    vague = worker("local", ALIVE, runs=("kept",), more=1, number=2)
    _, findings, _ = _told(tables, source, runner, _history(*tasks), Workers((dead, vague)))
    assert _causes(findings) == {}, "it may be the one that is not named"


def test_who_has_just_begun_is_not_dead(tables: DbosBackend, source: DbosSource, runner: asyncio.Runner):
    """A task that was taken after the roster was read, by one who is not in it yet, is nobody's orphan."""
    new = _life("new", executor="new") | {"created_at": 0, "updated_at": 0}
    old = _life("old", executor="new")
    _, findings, _ = _told(tables, source, runner, _history(new, old), Workers((worker("lives", ALIVE),)))
    assert _causes(findings) == {"old": Cause.WORKER_DEAD}


def test_the_oldest_are_named_first_and_no_more_than_asked_for(
    tables: DbosBackend, source: DbosSource, runner: asyncio.Runner
):
    """All are counted; of those that wait in many places the ones are named that have been waiting longest."""
    tables.clear()
    tables.workers = Workers((worker("lives", ALIVE, version="v9"),))
    rows = []
    for number in range(12):
        row = _life(f"{number:02}", version=f"v{number % 3}") | {"status": "ENQUEUED"}
        rows.append(row | dict.fromkeys(("created_at", "updated_at"), -(20 - number) * MINUTE))
    tables.write(_history(*rows), tables.now_ms())
    findings = runner.run(source.stuck(30, 4))
    assert [task.id for task in findings.tasks] == ["00", "01", "02", "03"]
    assert findings.causes[Cause.NO_WORKER_OF_VERSION] == 12
    assert {task.version for task in findings.tasks} == {"v0", "v1", "v2"}


def test_far_beyond_what_it_usually_takes_is_told(tables: DbosBackend, source: DbosSource, runner: asyncio.Runner):
    """Of 20 that took a second each, the one that runs for two minutes runs long; of 19 nothing is known."""
    for samples, expected in ((19, {}), (20, {"long": Cause.RUNNING_LONG})):
        done = [_life(f"{number}") | {"status": "SUCCESS", "completed_at": -119_000} for number in range(samples)]
        _, findings, _ = _told(tables, source, runner, _history(*done, _life("long")), None)
        assert _causes(findings) == expected
