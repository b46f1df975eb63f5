"""What the status says of Tasker's tables while they cannot be read: the last figures with their true age, in time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from contract.tasker_backend import TaskerOnPostgres
from contract.tasker_schema import WORK
from fakes import shared_of
from integration.tasker_writers import connect
from server import wait_until
from servers import PostgresServer
from tasker_health.model import StatusReason, StatusReport, SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.settings import HealthSettings

TIMEOUT_SECONDS = 0.5
STALE_SECONDS = 3
PATIENCE_SECONDS = 30


@contextlib.contextmanager
def _lock(tables: TaskerOnPostgres) -> Iterator[None]:
    """Keep every reader out, as a migration does."""
    with tables.locked():
        yield


@contextlib.contextmanager
def _vacuum_full(tables: TaskerOnPostgres) -> Iterator[None]:
    """Let a VACUUM FULL be under way: it waits for somebody who reads, and everybody else waits for it."""
    with contextlib.closing(connect(tables.url)) as reader, contextlib.closing(connect(tables.url)) as vacuum:
        reader.execute("BEGIN")
        for table in WORK:
            reader.execute(f"SELECT 1 FROM {table} LIMIT 1")
        thread = threading.Thread(target=vacuum.execute, args=("VACUUM FULL tasker_task_transitions",))
        thread.start()
        waits = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
        wait_until(lambda: _one(tables, waits), "the vacuum waits")
        try:
            yield
        finally:
            reader.execute("ROLLBACK")
            thread.join()


@contextlib.contextmanager
def _statement_timeout(tables: TaskerOnPostgres) -> Iterator[None]:
    """Let every statement on a table take longer than it may: the tables stand still behind a lock on one of them."""
    with contextlib.closing(connect(tables.url)) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE tasker_workflow_step_transitions IN ACCESS EXCLUSIVE MODE")
        yield
        holder.execute("ROLLBACK")


def _one(tables: TaskerOnPostgres, statement: str) -> int:
    with contextlib.closing(connect(tables.url)) as connection:
        [(answer,)] = connection.execute(statement).fetchall()
    return int(answer)


@contextlib.asynccontextmanager
async def _monitored(tables: TaskerOnPostgres, seconds: float) -> AsyncIterator[Monitor]:
    """Give a monitor of *tables* that reads at every question, each statement of which may last for *seconds*."""
    settings = HealthSettings(
        cache_duration_seconds=0,
        status_timeout_seconds=TIMEOUT_SECONDS,
        status_max_stale_seconds=STALE_SECONDS,
        degraded_blocked_tasks=1000,
        degraded_failure_ratio=1,
        stuck_after_seconds=10**6,
    )
    source = tables.source(statement_timeout_seconds=seconds, stuck_after_seconds=10**6)
    monitor = Monitor(settings, checks=[], sources=[source], shared=shared_of())
    try:
        yield monitor
    finally:
        await monitor.stop()


async def _becomes(monitor: Monitor, condition: Callable[[StatusReport], bool], what: str) -> StatusReport:
    """Ask until *condition* holds of the answer, each of which must come in time."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        began = time.monotonic()
        report = await monitor.status()
        assert time.monotonic() - began < TIMEOUT_SECONDS + 1, "the answer came too late"
        if condition(report):
            return report
        assert time.monotonic() < ends_at, f"{what}: {report}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "statement_seconds"),
    [(_lock, 30), (_vacuum_full, 30), (_statement_timeout, 0.1)],
    ids=["table locked", "vacuum full", "statement timeout"],
)
def test_what_cannot_be_read_is_answered_from_the_last_facts_with_their_age(
    fault: Callable[[TaskerOnPostgres], contextlib.AbstractContextManager[None]],
    statement_seconds: float,
    postgres: PostgresServer,
):
    """In time, the same figures and timestamp, growing old; then unhealthy; and well again when the fault is over."""
    tables = TaskerOnPostgres(postgres)
    tables.write(tables.lively, tables.now_ms())

    async def scene() -> None:
        async with _monitored(tables, statement_seconds) as monitor:
            well = await _becomes(monitor, lambda report: report.status is SystemStatus.HEALTHY, "healthy at first")
            with fault(tables):
                ill = await _becomes(
                    monitor, lambda report: StatusReason.SOURCE_UNREADABLE in report.reasons, "the fault is told"
                )
                assert ill.status is SystemStatus.DEGRADED
                assert ill.cache_info.cached
                old = await _becomes(monitor, lambda report: report.cache_info.age_seconds >= 1, "it grows old")
                stale = await _becomes(monitor, lambda report: report.status is SystemStatus.UNHEALTHY, "unhealthy")
                assert StatusReason.FACTS_STALE in stale.reasons
                assert stale.cache_info.age_seconds >= STALE_SECONDS
                assert ill.timestamp == old.timestamp == stale.timestamp
                for report in (ill, old, stale):
                    assert report.system_health.total_tasks == well.system_health.total_tasks
            again = await _becomes(monitor, lambda report: report.status is SystemStatus.HEALTHY, "well again")
            assert again.timestamp > stale.timestamp

    asyncio.run(scene())
