"""What the source `tasker` says of what stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from contract import tasker_history
from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Rows
from contract.tasker_backend import TaskerOnPostgres
from contract.tasker_recount import Recount
from contract.tasker_schema import NAMED_TASKS
from servers import PostgresServer
from tasker_health.work import MOST_STUCK


@pytest.fixture(scope="module")
def tables(postgres: PostgresServer) -> TaskerOnPostgres:
    """Tasker's tables."""
    return TaskerOnPostgres(postgres)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop."""
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=8)
@given(history=tasker_history.histories())
def test_each_task_that_stands_still_is_named_with_its_cause(
    history: Rows, tables: TaskerOnPostgres, runner: asyncio.Runner
):
    """What is named is what a recount finds, with a tally and without one, and by the name of the task."""
    tables.clear()
    now_ms = tables.now_ms()
    tables.write(history, now_ms)
    source = tables.source()
    afresh = runner.run(source.stuck(30, MOST_STUCK))
    runner.run(source.read(30))
    findings = runner.run(source.stuck(30, MOST_STUCK))
    runner.run(source.close())
    recount = Recount(tables.raw(), round(now_ms * 1000), WINDOW_SECONDS, STUCK_AFTER_SECONDS)
    expected = {(str(task["task_id"]), cause) for task in recount.tasks if (cause := recount.cause(task))}
    assert {(task.id, task.cause) for task in findings.tasks} == expected
    assert findings == afresh
    assert sum(findings.causes.values()) == len(expected)
    assert {task.name for task in findings.tasks} <= {name for name, _ in NAMED_TASKS.values()}


def test_no_more_are_named_than_asked_for(tables: TaskerOnPostgres, runner: asyncio.Runner):
    """All are counted; of each cause the ones are named that have stood still longest."""
    tables.clear()
    now_ms = tables.now_ms()
    for _ in range(3):
        tables.write(tasker_history.lively(), now_ms)
    source = tables.source()
    findings = runner.run(source.stuck(30, 1))
    assert max(findings.causes.values()) >= 3
    assert len(findings.tasks) == sum(number > 0 for number in findings.causes.values())
    runner.run(source.close())
