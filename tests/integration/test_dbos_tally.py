"""The tally of the source `dbos` beside a recount of the very snapshot that it was read in, while work goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contract.dbos_backend import DbosBackend, DbosOnPostgres, DbosOnSqlite
from integration.dbos_oracle import Oracle
from integration.dbos_writers import Writer
from servers import wait_until
from tasker_health.sources.dbos import postgresql, reader, sqlite

WINDOW_SECONDS = 20
STUCK_AFTER_SECONDS = 2
SECONDS = 12
LEAST = 60
"""So many readings are compared at least, however slow the machine."""

LAG_SECONDS = 60
"""Statistics come within 12 s of an idle session, a wrong tally is counted anew by turns; the machine is shared."""


@pytest.fixture(params=["sqlite", "postgresql"])
def tables(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DbosBackend:
    """DBOS' tables, empty; the tally goes on however few tasks there are."""
    monkeypatch.setattr(reader, "FEW", -1)
    if request.param == "postgresql":
        return DbosOnPostgres(request.getfixturevalue("postgres"))
    return DbosOnSqlite(tmp_path)


@pytest.fixture
def oracle(tables: DbosBackend) -> Iterator[Oracle]:
    """What compares the source with a recount; its windows are so short that much leaves them meanwhile."""
    oracle = Oracle(tables, window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS)
    yield oracle
    oracle.close()


@contextlib.contextmanager
def _writers(tables: DbosBackend, seed: int) -> Iterator[tuple[list[Writer], Callable[[], None]]]:
    """Give writers and what lets one of them go on; SQLite has one, for it lets no two write at once."""
    writers = [Writer(tables.url, seed * 10 + number) for number in range(6 if tables.schema else 1)]
    turns = [writer.turns() for writer in writers]
    number = 0

    def step() -> None:
        nonlocal number
        number += 1
        next(turns[number % len(turns)])

    try:
        yield writers, step
    finally:
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_after_each_statement_of_any_interleaving_the_tally_is_exact(seed: int, tables: DbosBackend, oracle: Oracle):
    """Open transactions, rollbacks, savepoints, clocks that are wrong, forks and recoveries: no figure is wrong."""
    assert oracle.differences() == {}
    with _writers(tables, seed) as (writers, step):
        for _ in range(300):
            step()
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at or oracle.compared < LEAST:
            step()
            assert oracle.differences() == {}, f"reading {oracle.compared}"
            if oracle.compared % 50 == 0:
                assert oracle.verify() == 0
        for _ in range(1500):  # and once more when much has become visible at once
            step()
        assert oracle.differences() == {}
        assert sum(writer.rolled_back for writer in writers) > 3
        assert sum(writer.committed for writer in writers) > 50
    assert oracle.source.recounts < 5, "it is exact because it counts on, not because it counts anew"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle early: nothing here is seen late."""
    monkeypatch.setattr(sqlite, "_LATE_MS", 1500)
    for name in ("_TRANSACTION_MS", "_LOCK_MS", "_BATCH_MS"):
        monkeypatch.setattr(postgresql, name, 100)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("name", ["come_to_life_again", "rewind", "delete"])
def test_what_was_counted_and_is_no_more_so_is_found(name: str, tables: DbosBackend, oracle: Oracle):
    """Who comes to life again shows at once; a deletion shows when the server, or a verification, has noticed it."""
    assert oracle.differences() == {}
    with _writers(tables, 7) as (_, step):
        for _ in range(3000):
            step()
    with contextlib.closing(Writer(tables.url, 99)) as writer:
        writer.adopt_all()
        wait_until(lambda: _all_is_folded(oracle, writer), "everything is folded", LAG_SECONDS)
        wait_until(oracle.source._may_count, "another count would not take too much of the time")
        before = oracle.source.recounts
        assert getattr(writer, name)()
    if name == "delete":
        wait_until(lambda: oracle.verify() > 0 or oracle.differences() == {}, "it is found", LAG_SECONDS)
        wait_until(lambda: oracle.differences() == {}, "right again", LAG_SECONDS)
    else:
        assert oracle.differences() == {}, "in the very next reading"
    assert oracle.source.recounts > before
    assert oracle.verify() == 0


@pytest.mark.usefixtures("hasty")
def test_what_was_imported_with_times_of_long_ago_is_found(tables: DbosBackend, oracle: Oracle):
    """SQLite shows it; on PostgreSQL a verification says that the tally is wrong, and it begins anew."""
    assert oracle.differences() == {}
    with contextlib.closing(Writer(tables.url, 99)) as writer:
        writer.import_old()
    if tables.schema:
        assert oracle.verify() > 0
    wait_until(lambda: oracle.differences() == {}, "it is counted")
    assert oracle.read().total == 1
    assert oracle.verify() == 0


@pytest.mark.usefixtures("hasty")
def test_nothing_is_read_of_the_tasks_while_nothing_is_written(tables: DbosBackend, oracle: Oracle):
    """A reading of the same moment as the last one asks the tables for nothing, and lets time go on all the same."""
    assert oracle.differences() == {}
    with _writers(tables, 8) as (_, step):
        for _ in range(1000):
            step()
    for _ in range(2):  # after a full count the first reading looks at the tables once more
        assert oracle.differences() == {}
    asked: list[str] = []

    def note(_connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    running = oracle.read()
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert not [statement for statement in asked if "GROUP BY" in statement]
    assert running.running > 0
    wait_until(lambda: oracle.differences() == {} and oracle.read().stuck == running.running, "all of them are stuck")
    wait_until(lambda: oracle.differences() == {} and oracle.read().window_completed == 0, "the window is past", 60)


def _all_is_folded(oracle: Oracle, writer: Writer) -> bool:
    """Write something, and read; say whether next to nothing is above the settled keys any more."""
    writer.enqueue()
    assert oracle.differences() == {}
    state = oracle.source._state
    return state is not None and not state.tally.above.ended
