"""The source `tasker` on a hot standby, where writers' locks cannot be seen, and after a failover to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from contract.tasker_backend import TaskerOnPostgres
from integration.tasker_oracle import Oracle
from integration.tasker_standby import Standby
from integration.tasker_work import Turns
from servers import PostgresServer, wait_until
from tasker_health.errors import DatabaseFault
from tasker_health.model import CountingMethod


@pytest.fixture
def standby(own_postgres: PostgresServer) -> Iterator[Standby]:
    """A standby of `own_postgres`."""
    standby = Standby(own_postgres)
    yield standby
    standby.end()


def _work(url: str, seed: int, steps: int = 400) -> None:
    with Turns(url, seed, prepares=False) as turns:
        for _ in range(steps):
            turns.step()


def _is_right(oracle: Oracle) -> bool:
    """Say whether the source can be read, which it cannot while its server is away, and is right."""
    try:
        return oracle.differences() == {}
    except DatabaseFault:
        return False


def test_a_standby_is_counted_whole_and_says_so_and_a_failover_to_it_is_right(
    own_postgres: PostgresServer, standby: Standby
):
    """Every figure on the standby is that of its snapshot, by full count; promoted, it is right, by a tally again."""
    tables = TaskerOnPostgres(own_postgres)
    _work(tables.url, 1)
    standby.follow()
    copy = tables.moved(standby.url_of(str(sa.make_url(tables.url).database)))
    oracle = Oracle(copy, window_seconds=60, stuck_after_seconds=5)
    try:
        assert oracle.differences() == {}
        assert oracle.last is not None
        assert oracle.last.method is CountingMethod.FULL_COUNT
        assert oracle.last.total > 0

        _work(tables.url, 2)
        standby.follow()
        wait_until(lambda: oracle.differences() == {}, "what was streamed is counted")
        assert oracle.last.method is CountingMethod.FULL_COUNT

        own_postgres.kill()
        standby.promote()
        with Turns(copy.url, 3, prepares=False) as turns:
            for _ in range(200):
                turns.step()
        wait_until(lambda: oracle.read().method is CountingMethod.TALLY, "the new primary is counted by a tally")
        assert oracle.differences() == {}
        _work(copy.url, 4)
        assert oracle.differences() == {}
        assert oracle.last.method is CountingMethod.TALLY
    finally:
        oracle.close()


def test_a_tally_does_not_survive_the_server_that_it_was_kept_of(own_postgres: PostgresServer, standby: Standby):
    """Work that the old primary had not streamed is lost with it: the same address is counted anew, and right."""
    tables = TaskerOnPostgres(own_postgres)
    _work(tables.url, 1)
    standby.follow()
    oracle = Oracle(tables, window_seconds=60, stuck_after_seconds=5)
    try:
        assert oracle.differences() == {}
        standby.stop()
        _work(tables.url, 2)
        assert oracle.differences() == {}
        own_postgres.stop()
        standby.port = own_postgres.port
        standby.start()
        standby.promote()
        wait_until(lambda: _is_right(oracle), "the new primary is counted")
    finally:
        oracle.close()
