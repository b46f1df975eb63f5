"""The source `dbos` over what DBOS itself writes, while it works, after it was killed and when it has recovered."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from contract.ages import without_ages
from contract.backend import Rows
from contract.dbos_backend import DbosBackend, DbosOnPostgres, DbosOnSqlite
from contract.dbos_history import DAY, Life
from contract.dbos_recount import Recount
from integration.dbos_writers import Writer
from servers import sync_url, wait_until
from tasker_health.database import Database
from tasker_health.model import Connections, Facts
from tasker_health.sources.dbos import DbosSource, reader, table_names
from tasker_health.work import Cause

APPLICATION = Path(__file__).parent / "dbos_application.py"
WINDOW_SECONDS = 3600
STUCK_AFTER_SECONDS = 1

STEPS_WALKED = re.compile(
    r"^(SCAN (o|last|z)\b(?!.*(PRIMARY KEY|MIN|MAX))|.*Seq Scan on operation_outputs)", re.MULTILINE
)
TASKS_WALKED = re.compile(r"^(SCAN (w|workflow_status)$|.*Seq Scan on workflow_status)", re.MULTILINE)


@pytest.fixture(params=[reader.FEW, -1], ids=["few_are_counted", "tally"], autouse=True)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """So few tasks are counted each time; with -1 there is always a tally."""
    monkeypatch.setattr(reader, "FEW", request.param)
    return request.param


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database for DBOS to make its tables in."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_database")
    return f"sqlite:///{tmp_path / 'dbos.sqlite'}"


@pytest.fixture
def read(url: str) -> Iterator[Callable[[], Facts]]:
    """A function that reads the source, without the server's connections, which come and go, and how it counts."""
    windows = {"window_seconds": WINDOW_SECONDS, "stuck_after_seconds": STUCK_AFTER_SECONDS}
    source = DbosSource("dbos", Database(url), **windows)
    with asyncio.Runner() as runner:
        without = {"connections": Connections(), "method": None, "drift": None}
        yield lambda: without_ages(msgspec.structs.replace(runner.run(source.read(30)), **without))
        assert runner.run(source.verify(30)) == 0
        runner.run(source.close())


@contextlib.contextmanager
def _application(url: str, log: Path, *arguments: str) -> Iterator[None]:
    """Run DBOS until every workflow is in its state; at the end it is killed, as by a power failure."""
    command = [sys.executable, str(APPLICATION), sync_url(url), *arguments]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", log.read_text()[-3000:]
            yield
        finally:
            process.kill()


def _recount(url: str) -> Facts:
    """Return what the definitions say of the rows that are there now."""
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
    tables = table_names(engine.dialect.name, "dbos")
    now = {
        "sqlite": "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "postgresql": "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    }
    with engine.connect() as connection:
        rows = [
            [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {tables[name]}").mappings()]
            for name in ("workflow_status", "operation_outputs")
        ]
        now_ms = connection.exec_driver_sql(now[engine.dialect.name]).scalar_one()
    return without_ages(Recount(*rows, now_ms, WINDOW_SECONDS * 1000, STUCK_AFTER_SECONDS * 1000).facts())


def test_figures_of_real_work_survive_a_kill_and_follow_a_recovery(url: str, read: Callable[[], Facts], tmp_path: Path):
    """Every state is seen in what DBOS writes; a dead worker's task is stuck, a sleeping one is not."""
    with _application(url, tmp_path / "first.log"):
        facts = wait_until(
            lambda: (now := read()).stuck and (now.causes or {}).get(Cause.NOT_TAKEN) == 2 and now,
            "the hanging workflow is stuck, and what was queued last has waited for as long",
        )
        assert facts == _recount(url)
        # 4 naps and the like run; of the queue, two wait for the nap before them, and one for its time.
        assert (facts.pending, facts.running, facts.completed, facts.failed) == (3, 4, 5, 1)
        assert (facts.cancelled, facts.other, facts.blocked) == (1, 0, None)
        assert facts.stuck == 1, "who sleeps durably is not stuck, however long ago it was heard of"
        assert (facts.retry_queue, facts.in_backoff) == (1, 1)
        assert (facts.retries_settled, facts.retries_succeeded) == (2, 1)
        assert (facts.window_completed, facts.window_failed) == (5, 1)
        # reserve: 3 orders, a child, 2 naps, a cancelled one, a hanging one; charge: 2 orders and a child; flaky: once.
        assert facts.step_time is not None
        assert facts.step_time.count == 8 + 3 + 1

    assert read() == facts == _recount(url)

    with _application(url, tmp_path / "second.log", "again"):
        recovered = wait_until(lambda: (now := read()).running == 3 and now, "what was queued runs again")
        assert recovered == _recount(url)
        assert (recovered.completed, recovered.pending, recovered.stuck) == (6, 3, 0)
        assert (recovered.total, recovered.retry_queue, recovered.in_backoff) == (facts.total, 1, 1)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_figure_is_had_by_walking_through_every_step(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    """Of 40,000 steps only those are read that an index leads to: a day's history costs what an hour's does."""
    if kind == "postgresql":
        tables: DbosBackend = DbosOnPostgres(request.getfixturevalue("postgres"))
    else:
        tables = DbosOnSqlite(tmp_path)
    tables.write(_a_day_of_work(tasks=500), tables.now_ms())
    _double(tables, times=4)
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            prefix = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{prefix} {statement}", parameters)
            plans.append("\n".join([statement, *(str(row[-1]) for row in rows)]))

    source = tables.source()
    with asyncio.Runner() as runner:
        sa.event.listen(sa.Engine, "before_cursor_execute", explain)
        first, counting = runner.run(source.read(30)), plans[:]
        with contextlib.closing(Writer(tables.url, 1)) as writer:
            writer.start_and_fail_once()
        plans.clear()
        second = runner.run(source.read(30))
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)
        runner.run(source.close())

    assert (first.total, second.total) == (8000, 8001)
    assert second.retry_queue == 1
    assert sum("operation_outputs" in plan for plan in counting) >= 4
    assert [plan for plan in counting if STEPS_WALKED.search(plan)] == []
    assert sum("operation_outputs" in plan for plan in plans) >= 4
    assert [plan for plan in plans if STEPS_WALKED.search(plan) or TASKS_WALKED.search(plan)] == []


def _double(tables: DbosBackend, times: int) -> None:
    """Add as many tasks as there are, *times* over, each with the steps of one that is there."""
    names = table_names(tables.engine.dialect.name, "dbos")
    same = {
        "workflow_status": "status, name, created_at, updated_at, completed_at, priority",
        "operation_outputs": "function_id, function_name, output, error, started_at_epoch_ms, completed_at_epoch_ms",
    }
    for turn in range(times):
        for table, columns in same.items():
            values = f"SELECT workflow_uuid || '-{turn}', {columns} FROM {names[table]}"
            tables.execute(f"INSERT INTO {names[table]} (workflow_uuid, {columns}) {values}")
    tables.execute(f"UPDATE {names['operation_outputs']} SET retention_timestamp = completed_at_epoch_ms")
    if tables.schema:
        tables.execute("ANALYZE")  # SQLite plans without, as DBOS leaves it


def _a_day_of_work(tasks: int) -> Rows:
    """Return *tasks* workflows of five steps each, most of them done, spread over the last day."""
    rows: Rows = {"workflow_status": [], "operation_outputs": []}
    for number in range(tasks):
        life = Life(f"task-{number}", -DAY + number * DAY // tasks)
        for step in ("reserve", "charge", "charge", "pack", "ship"):
            life.step(step, 100, failed=step == "charge" and not number % 50)
        life.end("SUCCESS" if number % 100 else "ERROR")
        for table, found in life.rows().items():
            rows[table] += found
    return rows
