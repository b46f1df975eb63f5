"""Minutes of work and of disturbances beside the tally. Run by `./dev soak`; SOAK_SECONDS says how long (600)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from contract.tasker_backend import TaskerOnPostgres
from integration.tasker_disturbers import NEVER_WRONG, REPLACED, REPORTED, delete_old, disturb
from integration.tasker_oracle import Oracle
from integration.tasker_work import Threads, Turns
from integration.tasker_writers import connect
from server import wait_until
from servers import PostgresServer
from tasker_health.model import CountingMethod

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
WINDOW_SECONDS = 30
STUCK_AFTER_SECONDS = 3
LAG_SECONDS = 90


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that lets transactions be prepared."""
    server = PostgresServer()
    try:
        server.execute("ALTER SYSTEM SET max_prepared_transactions = 20")
        server.stop()
        server.start()
        yield server
    finally:
        server.end()


@pytest.mark.soak
@pytest.mark.timeout(2 * SECONDS + 600)
def test_the_tally_is_exact_through_minutes_of_work_and_disturbances(server: PostgresServer):
    """0 differences while writers work; equal again in time after each disturbance, and exact once more."""
    tables = TaskerOnPostgres(server)
    oracle = Oracle(tables, window_seconds=WINDOW_SECONDS, stuck_after_seconds=STUCK_AFTER_SECONDS)
    disturbances = list({**NEVER_WRONG, **REPLACED, **REPORTED}.items())
    ends_at, round_, lags = time.monotonic() + SECONDS, 0, {}
    with contextlib.closing(oracle), contextlib.closing(connect(tables.url)) as connection:
        assert oracle.differences() == {}
        while time.monotonic() < ends_at:
            round_ += 1
            round_ends_at = time.monotonic() + min(20, SECONDS / 10)
            kind = Threads if round_ % 2 else Turns
            with kind(tables.url, round_, window_seconds=WINDOW_SECONDS) as work:
                while time.monotonic() < round_ends_at:
                    if isinstance(work, Turns):
                        work.step()
                    assert oracle.differences() == {}, f"round {round_}, reading {oracle.compared}"
                    assert oracle.last is not None
                    assert oracle.last.method is CountingMethod.TALLY
                assert oracle.verify() == 0
            name, act = disturbances[round_ % len(disturbances)]
            for disturbance in (act, delete_old):  # the latter keeps the tables small enough to be counted by hand
                disturb(connection, disturbance)
                began = time.monotonic()
                if name not in NEVER_WRONG or disturbance is delete_old:
                    wait_until(lambda: oracle.differences() == {}, f"right again after {name}", LAG_SECONDS)
                lags[disturbance.__name__] = max(lags.get(disturbance.__name__, 0), time.monotonic() - began)
            wait_until(lambda: oracle.read().method is CountingMethod.TALLY, "a tally goes on")
            assert oracle.verify() == 0
    print(f"\n{oracle.compared} readings compared in {round_} rounds; seconds until right again: {lags}")  # noqa: T201
