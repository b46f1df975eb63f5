"""The tally of the source `tasker` beside a recount of the very snapshot that it was read in, while work goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from contract.tasker_backend import TaskerOnPostgres
from integration.tasker_disturbers import (
    NEVER_WRONG,
    REPLACED,
    REPORTED,
    VERIFIED,
    disturb,
    explicit_high_ids,
    sequence_back,
    sequence_forward,
)
from integration.tasker_oracle import Oracle
from integration.tasker_work import Threads, Turns
from integration.tasker_writers import NOW, Writer, connect
from servers import PostgresServer, wait_until
from tasker_health.errors import DatabaseFault
from tasker_health.model import CountingMethod

WINDOW_SECONDS = 20
STUCK_AFTER_SECONDS = 2
OPTIONS = {"window_seconds": WINDOW_SECONDS}
SECONDS = 6
LEAST = 60
"""So many readings are compared at least, however slow the machine."""

LAG_SECONDS = 60
"""Statistics come within 12 s of an idle session, a wrong tally is counted anew by turns; the machine is shared."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that lets transactions be prepared."""
    server = PostgresServer()
    try:
        server.execute("ALTER SYSTEM SET max_prepared_transactions = 20", "ALTER SYSTEM SET max_connections = 60")
        server.stop()
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def tables(server: PostgresServer) -> TaskerOnPostgres:
    """Tasker's tables, empty."""
    return TaskerOnPostgres(server)


@pytest.fixture
def oracle(tables: TaskerOnPostgres) -> Iterator[Oracle]:
    """What compares the source with a recount; its windows are so short that much leaves them meanwhile."""
    oracle = Oracle(tables, window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS)
    yield oracle
    oracle.close()


def _compare(oracle: Oracle, step: Callable[[], object], seconds: float = SECONDS, least: int = LEAST) -> None:
    """Read again and again after *step*, and demand that every reading is what a recount of its snapshot finds."""
    ends_at, before = time.monotonic() + seconds, oracle.compared
    while time.monotonic() < ends_at or oracle.compared - before < least:
        step()
        assert oracle.differences() == {}, f"reading {oracle.compared - before}"
        assert oracle.last is not None
        assert oracle.last.method is CountingMethod.TALLY
        if (oracle.compared - before) % 50 == 0:
            assert oracle.verify() == 0


def _becomes_right(oracle: Oracle, what: str) -> float:
    """Wait until the tally is right again; return how many seconds that took."""
    began = time.monotonic()
    wait_until(lambda: oracle.differences() == {}, f"right again after {what}", LAG_SECONDS)
    return time.monotonic() - began


@pytest.mark.parametrize("seed", [1, 2])
def test_after_each_statement_of_any_interleaving_the_tally_is_exact(
    seed: int, tables: TaskerOnPostgres, oracle: Oracle
):
    """Out-of-order commits, rollbacks, savepoints, open and prepared transactions: no figure is ever another one."""
    with Turns(tables.url, seed, **OPTIONS) as turns:
        _compare(oracle, turns.step)
        for _ in range(3000):  # and once more when much has become visible at once
            turns.step()
        _compare(oracle, turns.step, seconds=0)
        assert sum(writer.rolled_back for writer in turns.writers) > 5
        assert sum(writer.prepared for writer in turns.writers) > 2
        assert sum(writer.failed for writer in turns.writers) == 0
    assert oracle.source.recounts < 5, "it is exact because it counts on, not because it counts anew"


def test_what_is_written_between_the_statements_of_a_reading_is_not_lost(tables: TaskerOnPostgres, oracle: Oracle):
    """Ids that are taken after the ids were read and before the writers were, and the like: whatever the moment."""
    _compare(oracle, lambda: None, seconds=0, least=1)
    with Turns(tables.url, 4, **OPTIONS, longest_pause_seconds=0.3) as turns:  # so that ids settle again and again

        def write(_connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
            if statement.lstrip().startswith(("SELECT", "WITH", "ROLLBACK")):
                for _number in range(3):
                    turns.step()

        sa.event.listen(sa.Engine, "before_cursor_execute", write)
        try:
            _compare(oracle, turns.step)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", write)


def test_a_prepared_transaction_that_outlives_its_server_is_not_lost(own_postgres: PostgresServer):
    """After a restart nobody holds its locks but itself, under another name: what it commits is counted."""
    own_postgres.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    own_postgres.stop()
    own_postgres.start()
    tables = TaskerOnPostgres(own_postgres)
    tables.write(tables.lively, tables.now_ms())
    oracle = Oracle(tables, window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS)
    with contextlib.closing(oracle):
        assert oracle.differences() == {}
        with contextlib.closing(connect(tables.url)) as connection:
            connection.execute("BEGIN")
            connection.execute(
                "INSERT INTO tasker_task_transitions (task_id, to_state, sort_key, created_at, updated_at)"
                f" SELECT task_id, 'in_progress', 500, {NOW}, {NOW} FROM tasker_tasks t WHERE NOT EXISTS"
                " (SELECT 1 FROM tasker_task_transitions n WHERE n.task_id = t.task_id)"
            )
            connection.execute("PREPARE TRANSACTION 'in_doubt'")
        own_postgres.stop()
        own_postgres.start()
        wait_until(lambda: _is_right(oracle), "the server is there again")
        with contextlib.closing(connect(tables.url)) as connection:
            tables.write(tables.lively, tables.now_ms())
            wait_until(lambda: _is_right(oracle), "what went on meanwhile is counted")
            connection.execute("COMMIT PREPARED 'in_doubt'")
        wait_until(lambda: _is_right(oracle), "what was in doubt is counted")
        wait_until(lambda: oracle.read().method is CountingMethod.TALLY, "a tally has begun")
        assert oracle.differences() == {}


def test_while_eight_workers_write_at_once_the_tally_is_exact(tables: TaskerOnPostgres, oracle: Oracle):
    """The same, of connections that do not wait for each other, while it is read all the time."""
    _compare(oracle, lambda: None, seconds=0, least=1)
    with Threads(tables.url, 3, **OPTIONS) as threads:
        _compare(oracle, oracle.read)
        assert sum(writer.committed for writer in threads.writers) > 50
        assert oracle.verify() == 0


def test_what_no_transition_tells_is_found(tables: TaskerOnPostgres, oracle: Oracle):
    """What shows in the tables is in the next reading, what their files or the statistics tell of is found later."""
    lags: dict[str, float] = {}
    with contextlib.closing(connect(tables.url)) as connection:
        for name, act in {**NEVER_WRONG, **REPLACED, **REPORTED}.items():
            _work(tables, oracle, len(lags))
            disturb(connection, act)
            connection.execute("SELECT pg_stat_force_next_flush()")  # a session that goes on would report as soon
            lags[name] = _becomes_right(oracle, name) if name not in NEVER_WRONG else 0
            assert oracle.differences() == {}, name
    assert oracle.verify() == 0


def test_ids_that_the_sequence_has_not_handed_out_end_the_tally_until_it_has(tables: TaskerOnPostgres, oracle: Oracle):
    """Who writes explicit ids may write lower ones next: everything is counted, and said to be."""
    _work(tables, oracle, 5)
    with contextlib.closing(connect(tables.url)) as connection:
        disturb(connection, explicit_high_ids)
        wait_until(lambda: oracle.read().method is CountingMethod.FULL_COUNT, "explicit ids are seen")
        _becomes_right(oracle, "explicit ids")
        disturb(connection, sequence_forward)
        wait_until(lambda: oracle.read().method is CountingMethod.TALLY, "the sequence is above every id")
        assert oracle.differences() == {}


def test_a_task_that_is_brought_back_has_its_failed_steps_in_the_queue_again(tables: TaskerOnPostgres, oracle: Oracle):
    """Whether or not its transition says what it was before: its steps have none of their own then."""
    writer = Writer(tables.url, 1, noted=0)
    writer.random.random = lambda: 0.5  # neither another clock nor an unknown state
    with contextlib.closing(writer):
        _go(
            writer, "INSERT INTO tasker_tasks (named_task_id, requested_at, created_at, updated_at) VALUES (1, $, $, $)"
        )
        _go(
            writer,
            "INSERT INTO tasker_workflow_steps (task_id, named_step_id, created_at, updated_at)"
            " SELECT task_id, 1, $, $ FROM tasker_tasks",
        )
        [(task, step)] = _go(writer, "SELECT task_id, workflow_step_id FROM tasker_workflow_steps")
        queue = []
        for table, key, state in (
            ("tasker_task_transitions", task, "in_progress"),
            ("tasker_workflow_step_transitions", step, "in_progress"),
            ("tasker_workflow_step_transitions", step, "error"),
            ("tasker_task_transitions", task, "error"),
            ("tasker_task_transitions", task, "pending"),
        ):
            list(writer._move(table, key, state))
            for _ in range(3):  # it is settled by then
                assert oracle.differences() == {}, state
            assert oracle.last is not None
            queue.append(oracle.last.retry_queue)
        assert queue == [0, 0, 1, 0, 1]


def _go(writer: Writer, statement: str) -> list[Any]:
    return writer._ask(statement.replace("$", NOW))


def test_a_sequence_that_was_set_back_is_found(tables: TaskerOnPostgres, oracle: Oracle):
    """Ids that were handed out and not used are handed out again: they are not taken for settled ones."""
    _work(tables, oracle, 6)
    with contextlib.closing(connect(tables.url)) as connection:
        connection.execute("SELECT nextval('tasker_task_transitions_id_seq') FROM generate_series(1, 1000)")
        assert oracle.differences() == {}
        assert oracle.differences() == {}
        sequence_back(connection)
        tables.write(tables.lively, tables.now_ms())
        _becomes_right(oracle, "sequence_back")
        _compare(oracle, lambda: tables.write(tables.lively, tables.now_ms()), seconds=0, least=5)


@pytest.mark.parametrize("name", VERIFIED)
def test_what_nothing_tells_is_found_by_verification(name: str, tables: TaskerOnPostgres, oracle: Oracle):
    """A verification says by how much the tally is wrong, and the tally begins anew; the next one finds nothing."""
    _work(tables, oracle, 7)
    with contextlib.closing(connect(tables.url)) as connection:
        disturb(connection, VERIFIED[name])
        assert oracle.verify() > 0
        _becomes_right(oracle, name)
        assert oracle.verify() == 0


def _is_right(oracle: Oracle) -> bool:
    """Say whether the source can be read, which it cannot while its server is away, and is right."""
    try:
        return oracle.differences() == {}
    except DatabaseFault:
        return False


def _work(tables: TaskerOnPostgres, oracle: Oracle, seed: int) -> None:
    """Let the writers do something and end, and the source go on by its tally."""
    with Turns(tables.url, 50 + seed, **OPTIONS) as turns:
        for _ in range(300):
            turns.step()
    wait_until(lambda: oracle.read().method is CountingMethod.TALLY, "a tally has begun")
    assert oracle.differences() == {}
