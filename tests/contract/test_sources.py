"""The contract of sources, held by every source on every database that its engine runs on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.backend import SITUATIONS, Backend, Rows
from contract.dbos_backend import DbosOnPostgres, DbosOnSqlite
from tasker_health.assessment import Reading, assess
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.model import Connections, Durations, Facts, PerformanceMetrics, Reason
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

Read = Callable[..., Facts]

NOTHING = Facts(
    **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other", "stuck"), 0),
    **dict.fromkeys(("retry_queue", "in_backoff", "window_completed", "window_failed"), 0),
    **dict.fromkeys(("retries_settled", "retries_succeeded"), 0),
    blocked=None,
    task_time=Durations(0, 0),
    step_time=Durations(0, 0),
)


def _dbos_sqlite(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return DbosOnSqlite(request.getfixturevalue("tmp_path_factory").mktemp("dbos"), **options)


def _dbos_postgresql(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return DbosOnPostgres(request.getfixturevalue("postgres"), **options)


BACKENDS = {"dbos-sqlite": _dbos_sqlite, "dbos-postgresql": _dbos_postgresql}


@pytest.fixture(scope="module", params=BACKENDS)
def made(request: pytest.FixtureRequest) -> Backend:
    """An engine's tables, made once."""
    return BACKENDS[request.param](request)


@pytest.fixture
def backend(made: Backend) -> Backend:
    """An engine's tables without a task."""
    made.clear()
    return made


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop, for a source keeps its connection between reads."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def read(runner: asyncio.Runner) -> Iterator[Read]:
    """A function that reads a source; what it has opened is closed at the end."""
    opened: dict[int, Source] = {}

    def read(source: Source, deadline_seconds: float = 30) -> Facts:
        opened[id(source)] = source
        return runner.run(source.read(deadline_seconds))

    yield read
    for source in opened.values():
        runner.run(source.close())


@pytest.fixture(scope="module")
def shared_source(made: Backend, runner: asyncio.Runner) -> Iterator[Source]:
    """A source that keeps its connection over all generated examples."""
    source = made.source()
    yield source
    runner.run(source.close())


def _without_connections(facts: Facts) -> Facts:
    return msgspec.structs.replace(facts, connections=Connections())


def _agree(made: Backend, read: Callable[[], Facts], history: Rows) -> Facts:
    """Write *history*, and demand that the source and the recount find the same."""
    made.clear()
    now_ms = made.now_ms()
    made.write(history, now_ms)
    facts = _without_connections(read())
    raw = made.raw()
    assert facts == made.recount(raw, now_ms)
    assert facts.total == len(raw["workflow_status"])
    return facts


class TestFigures:
    """What is read is what a recount of the raw rows finds."""

    @given(data=st.data())
    def test_equal_a_recount_of_any_history(
        self, data: st.DataObject, made: Backend, shared_source: Source, runner: asyncio.Runner
    ):
        """Every figure equals a brute-force recount, and every task counts exactly once."""
        history = data.draw(made.histories)
        facts = _agree(made, lambda: runner.run(shared_source.read(30)), history)
        states = (facts.pending, facts.running, facts.completed, facts.failed, facts.cancelled, facts.other)
        assert facts.total == sum(states)

    @pytest.mark.parametrize("situation", SITUATIONS)
    @settings(max_examples=15)
    @given(data=st.data())
    def test_equal_a_recount_in_every_situation(
        self, situation: str, data: st.DataObject, made: Backend, shared_source: Source, runner: asyncio.Runner
    ):
        """The same, of histories of one kind: zero rows, no steps, retries, backoff, recovery, orphans, ..."""
        history = data.draw(made.situations[situation])
        _agree(made, lambda: runner.run(shared_source.read(30)), history)

    def test_are_all_found_when_there_is_something_to_find(self, backend: Backend, read: Read):
        """The lively history has no figure of zero, so the recount above is not one of nothings."""
        facts = _agree(backend, lambda: read(backend.source()), backend.lively)
        figures = msgspec.structs.asdict(facts)
        for cannot_be_known in ("blocked", "connections"):
            del figures[cannot_be_known]
        assert [name for name, figure in figures.items() if figure in (0, None, Durations(0, 0))] == []

    def test_of_an_empty_engine_are_zero_and_averages_null(self, backend: Backend, read: Read):
        """No task is no fault: counts are 0; averages and ratios are null, for there is nothing to average."""
        facts = read(backend.source())
        assert _without_connections(facts) == NOTHING
        judged = assess([Reading(name="empty", facts=facts, read_at=1.0)], HealthSettings(), 1.0)
        assert judged.performance_metrics == PerformanceMetrics(settled_tasks=0)
        assert judged.system_health.total_tasks == 0

    def test_that_cannot_be_known_are_null(self, backend: Backend, read: Read):
        """Where the engine's data does not tell, null is said and never 0."""
        backend.write(backend.lively, backend.now_ms())
        facts = read(backend.source(attempts_recorded=False))
        unknown = (facts.retry_queue, facts.in_backoff, facts.retries_settled, facts.retries_succeeded)
        assert unknown == (None, None, None, None)
        assert facts.blocked is None
        assert facts.completed == 1

    def test_do_not_depend_on_a_time_zone_and_need_no_right_but_to_read(self, backend: Backend, read: Read):
        """A role that may only read the engine's tables finds the same, whatever its session's time zone."""
        for time_zone in ("America/New_York", "Asia/Tokyo", "UTC"):
            with backend.restricted_source(time_zone) as source:
                _agree(backend, lambda: read(source), backend.lively)


class TestSnapshot:
    """All figures are of one moment, and nothing is written."""

    def test_is_one_whatever_is_written_meanwhile(self, backend: Backend, read: Read):
        """What is committed between the statements of a reading is in all of its figures or in none."""
        now_ms = backend.now_ms()
        moments = [backend.raw()]

        def write(_connection: sa.Connection) -> None:
            prefix = f"{len(moments)}-"
            backend.write(_renamed(backend.lively, prefix), now_ms)
            moments.append(backend.raw())

        with _before_each_statement(write):
            facts = _without_connections(read(backend.source()))
        assert len(moments) > 5
        assert facts in [backend.recount(raw, now_ms) for raw in moments]

    def test_is_read_only(self, backend: Backend, read: Read):
        """The database itself refuses a write on the connection that reads; nothing is changed by a reading."""
        backend.write(backend.lively, backend.now_ms())
        before = backend.raw()
        refused = []

        def write(connection: sa.Connection) -> None:
            attempt = connection.begin_nested()
            with pytest.raises(sa.exc.DBAPIError) as caught:
                connection.exec_driver_sql(backend.a_write())
            attempt.rollback()
            refused.append(str(caught.value.orig))

        with _before_each_statement(write):
            read(backend.source())
        assert len(refused) > 5
        assert all("read-only" in text or "readonly" in text for text in refused), refused[0]
        assert backend.raw() == before

    def test_is_a_new_one_each_time(self, backend: Backend, read: Read):
        """A source that keeps its connection still sees what was committed since the last reading."""
        source = backend.source()
        assert read(source).total == 0
        backend.write(backend.lively, backend.now_ms())
        assert read(source).total == len(backend.lively["workflow_status"])


class TestFaults:
    """What cannot be read is said, with its reason, and is read again as soon as it can be."""

    def test_of_a_schema_that_it_does_not_know(self, backend: Backend, read: Read):
        """A version that nobody has tried is `unknown_version`: its tables are not guessed at."""
        source = backend.source()
        for versions in ([max(backend.known_versions) + 1], [min(backend.known_versions) - 1], []):
            backend.set_versions(versions)
            with pytest.raises(SourceFault) as caught:
                read(source)
            assert caught.value.reason is Reason.UNKNOWN_VERSION
        backend.clear()
        assert read(source).total == 0

    def test_of_tables_that_are_missing(self, backend: Backend, read: Read):
        """A database without the engine, or without one of its tables, is `missing`."""
        source = backend.source()
        for table in backend.tables:
            with backend.hidden(table):
                assert _fault(read, source) is Reason.MISSING, table
            assert read(source).total == 0
        assert _fault(read, backend.source(schema_missing=True)) is Reason.MISSING

    def test_of_tables_that_are_locked(self, backend: Backend, read: Read):
        """A lock costs the reading its deadline and no more; it is read again afterwards, by the same source."""
        lockable = backend.lockable()
        source = lockable.source()
        assert read(source).total == 0
        with lockable.locked():
            began = time.monotonic()
            assert _fault(read, source, deadline_seconds=0.5) is Reason.TIMEOUT
            assert time.monotonic() - began < 1.5
        assert read(source).total == 0


@pytest.mark.parametrize("name", BACKENDS)
def test_every_known_version_is_read(name: str, request: pytest.FixtureRequest, read: Read):
    """The older schemas that the source says it knows give the same figures, from tables as they were then."""
    for version in BACKENDS[name](request).known_versions[1:]:
        backend = BACKENDS[name](request, version=version)
        _agree(backend, partial(read, backend.source()), backend.lively)


def _fault(read: Read, source: Source, deadline_seconds: float = 30) -> Reason:
    with pytest.raises((DatabaseFault, SourceFault)) as caught:
        read(source, deadline_seconds)
    return caught.value.reason


def _renamed(history: Rows, prefix: str) -> Rows:
    """Return *history* with other names of its tasks."""
    names = ("workflow_uuid", "child_workflow_id", "parent_workflow_id")
    return {
        table: [{**row, **{name: f"{prefix}{row[name]}" for name in names if row.get(name)}} for row in rows]
        for table, rows in history.items()
    }


@contextlib.contextmanager
def _before_each_statement(act: Callable[[sa.Connection], None]) -> Iterator[None]:
    """Call *act* before each query of whoever reads meanwhile, but not before those of its own."""
    acting = False

    def hook(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal acting
        if acting or not statement.lstrip().startswith(("SELECT", "WITH")):
            return
        acting = True
        act(connection)
        acting = False

    sa.event.listen(sa.Engine, "before_cursor_execute", hook)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", hook)
