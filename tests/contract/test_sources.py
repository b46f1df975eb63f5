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
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.backend import Backend, Rows
from contract.dbos_backend import DbosOnPostgres, DbosOnSqlite
from contract.procrastinate_backend import ProcrastinateOnPostgres
from contract.tasker_backend import TaskerOnPostgres
from contract.tasker_core_backend import TaskerCoreOnPostgres
from tasker_health.assessment import Reading, assess
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.model import Connections, Durations, Facts, PerformanceMetrics, Reason
from tasker_health.settings import HealthSettings
from tasker_health.sources import Source

Read = Callable[..., Facts]


def _dbos_sqlite(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return DbosOnSqlite(request.getfixturevalue("tmp_path_factory").mktemp("dbos"), **options)


def _dbos_postgresql(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return DbosOnPostgres(request.getfixturevalue("postgres"), **options)


def _tasker_postgresql(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return TaskerOnPostgres(request.getfixturevalue("postgres"), **options)


def _tasker_core(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return TaskerCoreOnPostgres(request.getfixturevalue("postgres"), **options)


def _procrastinate(request: pytest.FixtureRequest, **options: Any) -> Backend:
    return ProcrastinateOnPostgres(request.getfixturevalue("postgres"), **options)


BACKENDS: dict[str, tuple[type[Backend], Callable[..., Backend]]] = {
    "dbos-sqlite": (DbosOnSqlite, _dbos_sqlite),
    "dbos-postgresql": (DbosOnPostgres, _dbos_postgresql),
    "tasker-postgresql": (TaskerOnPostgres, _tasker_postgresql),
    "tasker-core": (TaskerCoreOnPostgres, _tasker_core),
    "procrastinate": (ProcrastinateOnPostgres, _procrastinate),
}
SITUATIONS = [(name, situation) for name, (kind, _) in BACKENDS.items() for situation in kind.situations]


@pytest.fixture(scope="module", params=BACKENDS)
def made(request: pytest.FixtureRequest) -> Backend:
    """An engine's tables, made once."""
    return BACKENDS[request.param][1](request)


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


def _agree(made: Backend, read: Callable[[], Facts], history: Rows) -> Facts:
    """Write *history* where there is none, and demand that the source and the recount find the same."""
    now_ms = made.now_ms()
    made.write(history, now_ms)
    facts = read()
    raw = made.raw()
    assert made.differences(facts, raw, now_ms) == {}
    assert facts.total == made.tasks_in(raw)
    return facts


@contextlib.contextmanager
def _ready(made: Backend, shared_source: Source, runner: asyncio.Runner) -> Iterator[Callable[[], Facts]]:
    """Give a function that reads a source which has read before: the shared one, if it forgets in time."""
    made.clear()
    source = made.source() if made.forgets_late else shared_source
    assert runner.run(source.read(30)).total == 0
    yield lambda: runner.run(source.read(30))
    if source is not shared_source:
        runner.run(source.close())


class TestFigures:
    """What is read is what a recount of the raw rows finds."""

    @given(data=st.data())
    def test_equal_a_recount_of_any_history(
        self, data: st.DataObject, made: Backend, shared_source: Source, runner: asyncio.Runner
    ):
        """Every figure equals a brute-force recount, and every task counts exactly once."""
        history = data.draw(made.histories)
        with _ready(made, shared_source, runner) as read:
            facts = _agree(made, read, history)
        states = (facts.pending, facts.running, facts.completed, facts.failed, facts.cancelled, facts.other)
        assert facts.total == sum(states)

    @pytest.mark.parametrize(("made", "situation"), SITUATIONS, indirect=["made"])
    @settings(max_examples=15)
    @given(data=st.data())
    def test_equal_a_recount_in_every_situation(
        self, situation: str, data: st.DataObject, made: Backend, shared_source: Source, runner: asyncio.Runner
    ):
        """The same, of histories of one kind: zero rows, no steps, retries, backoff, recovery, orphans, ..."""
        history = data.draw(made.situations[situation])
        with _ready(made, shared_source, runner) as read:
            _agree(made, read, history)

    def test_are_all_found_when_there_is_something_to_find(self, backend: Backend, read: Read):
        """The lively history has no figure of zero, so the recount above is not one of nothings."""
        facts = _agree(backend, partial(read, backend.source()), backend.lively)
        figures = msgspec.structs.asdict(facts)
        zero = {name for name, figure in figures.items() if figure in (0, None, {}, Durations(0, 0), Connections())}
        assert zero - set(backend.known_nowhere) == set()

    def test_of_an_empty_engine_are_zero_and_averages_null(self, backend: Backend, read: Read):
        """No task is no fault: counts are 0; averages and ratios are null, for there is nothing to average."""
        facts = read(backend.source())
        assert msgspec.structs.replace(facts, connections=Connections(), method=None) == backend.nothing
        judged = assess([Reading(name="empty", facts=facts, read_at=1.0)], HealthSettings(), 1.0)
        assert judged.performance_metrics == PerformanceMetrics(settled_tasks=0)
        assert judged.system_health.total_tasks == 0

    def test_that_cannot_be_known_are_null(self, backend: Backend, read: Read):
        """Where the engine's data does not tell, null is said and never 0."""
        backend.write(backend.lively, backend.now_ms())
        options, unknown = backend.unknown
        facts = read(backend.source(**options))
        assert {name: getattr(facts, name) for name in unknown} == dict.fromkeys(unknown)
        assert facts.completed > 0

    def test_do_not_depend_on_a_time_zone_and_need_no_right_but_to_read(self, backend: Backend, read: Read):
        """A role that may only read the engine's tables finds the same, whatever its session's time zone."""
        for time_zone in ("America/New_York", "Asia/Tokyo", "UTC"):
            with backend.restricted_source(time_zone) as source:
                backend.clear()
                _agree(backend, partial(read, source), backend.lively)


class TestSnapshot:
    """All figures are of one moment, and nothing is written."""

    def test_is_one_whatever_is_written_meanwhile(self, backend: Backend, read: Read):
        """What is committed between the statements of a reading is in all of its figures or in none."""
        now_ms = backend.now_ms()
        moments = [backend.raw()]

        def write(_asker: Any) -> None:
            prefix = f"{len(moments)}-"
            backend.write(backend.renamed(backend.lively, prefix), now_ms)
            moments.append(backend.raw())

        source = backend.source()
        with backend.before_each_statement(write):
            facts = read(source)
        assert len(moments) > backend.least_statements
        assert {} in [backend.differences(facts, raw, now_ms) for raw in moments]

    def test_is_read_only(self, backend: Backend, read: Read):
        """The server itself refuses a write to whoever reads; nothing is changed by a reading."""
        backend.write(backend.lively, backend.now_ms())
        before = backend.raw()
        refused = []
        source = backend.source()
        with backend.before_each_statement(lambda asker: refused.append(backend.refused_write(asker))):
            read(source)
        assert len(refused) >= backend.least_statements
        assert all("read-only" in text or "readonly" in text for text in refused), refused[0]
        assert backend.raw() == before

    def test_is_a_new_one_each_time(self, backend: Backend, read: Read):
        """A source that keeps its connection still sees what was committed since the last reading."""
        source = backend.source()
        assert read(source).total == 0
        backend.write(backend.lively, backend.now_ms())
        assert read(source).total == backend.tasks_in(backend.raw())


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
    kind, make = BACKENDS[name]
    for version in kind.known_versions[1:]:
        backend = make(request, version=version)
        _agree(backend, partial(read, backend.source()), backend.lively)


def _fault(read: Read, source: Source, deadline_seconds: float = 30) -> Reason:
    with pytest.raises((DatabaseFault, SourceFault)) as caught:
        read(source, deadline_seconds)
    return caught.value.reason
