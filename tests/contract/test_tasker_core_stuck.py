"""What the source `tasker_core` says of what stands still, and how it reads what takes long to count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from contract import tasker_core_history
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Rows
from contract.tasker_core_backend import TaskerCoreOnPostgres
from contract.tasker_core_recount import Recount
from servers import PostgresServer, wait_until
from tasker_health.sources import tasker_core
from tasker_health.work import MOST_STUCK, Cause


@pytest.fixture(scope="module")
def tables(postgres: PostgresServer) -> TaskerCoreOnPostgres:
    """tasker-core's tables."""
    return TaskerCoreOnPostgres(postgres)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def source(tables: TaskerCoreOnPostgres, runner: asyncio.Runner) -> Iterator[tasker_core.TaskerCoreSource]:
    """A source that keeps its connection."""
    source = tables.source()
    yield source
    runner.run(source.close())


@settings(max_examples=15)
@given(history=tasker_core_history.histories())
def test_each_task_that_stands_still_is_named_with_its_cause(
    history: Rows, tables: TaskerCoreOnPostgres, source: tasker_core.TaskerCoreSource, runner: asyncio.Runner
):
    """What is named is what a recount finds, and as much of each cause as is counted."""
    tables.clear()
    now_ms = tables.now_ms()
    tables.write(history, now_ms)
    findings = runner.run(source.stuck(30, MOST_STUCK))
    recount = Recount(tables.raw(), now_ms / 1000, WINDOW_SECONDS, STUCK_AFTER_SECONDS)
    expected = {(str(task["task_uuid"]), cause) for task in recount.tasks if (cause := recount.cause(task))}
    assert {(task.id, task.cause) for task in findings.tasks} == expected
    assert findings.causes == recount.causes()


def test_no_more_are_named_than_asked_for_and_the_oldest_first(
    tables: TaskerCoreOnPostgres, source: tasker_core.TaskerCoreSource, runner: asyncio.Runner
):
    """All are counted; of each cause the oldest are named."""
    tables.clear()
    tasks = [
        {"task_uuid": f"{age}", "name": "order", "created_at": -age, "updated_at": -age} for age in range(1000, 1010)
    ]
    tables.write({**{table: [] for table in tasker_core_history.lively()}, "tasks": tasks}, tables.now_ms())
    findings = runner.run(source.stuck(30, 3))
    assert findings.causes[Cause.NOT_TAKEN] == 10
    now = tables.now_ms() / 1000
    ages = [round(now - (task.since or 0), -1) for task in findings.tasks]
    assert len(ages) == 3
    assert min(ages) >= 1000


def test_what_takes_long_to_count_is_counted_now_and_then(
    tables: TaskerCoreOnPostgres, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
):
    """A source whose count is no quick one answers the latest figures with their age, and counts again in time."""
    monkeypatch.setattr(tasker_core, "_QUICK_SECONDS", -1.0)
    tables.clear()
    source = tables.source()
    assert runner.run(source.read(30)).total == 0
    tables.write(tasker_core_history.lively(), tables.now_ms())
    wait_until(lambda: runner.run(source.read(30)).total == 8, "it is counted again")
    ages = [runner.run(source.read(30)).age_seconds for _ in range(5)]
    assert max(ages) > 0, "not for each reading"
    runner.run(source.close())
