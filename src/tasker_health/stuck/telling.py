"""From what was found to what is told: names that can be told, times, and nothing that only some may see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import UNSET
from msgspec.structs import replace

from tasker_health.naming import label
from tasker_health.stuck import DeadWorker, StuckItem, StuckReport
from tasker_health.stuck.commands import what_to_do
from tasker_health.work import Cause, StuckTask
from tasker_health.workers import Worker

_ORDER = {cause: number for number, cause in enumerate(Cause)}


def key_of(task: StuckTask) -> tuple[int, float, str]:
    """Return what tasks are sorted by: the surest cause first, then the oldest; of unknown age last."""
    return _ORDER[task.cause], math.inf if task.since is None else task.since, str(task.id)


def item(task: StuckTask, source: str | None, engine: str | None, confirmed: bool) -> StuckItem:
    """Return *task* as it is told to those who may see details."""
    return StuckItem(
        id=label(str(task.id)),
        source=source,
        engine=engine,
        name=_told(task.name),
        queue=_told(task.queue),
        version=_told(task.version),
        state=label(str(task.state)),
        cause=task.cause,
        since=_moment(task.since),
        what_to_do=what_to_do(task.cause, engine),
        worker=_told(task.worker),
        confirmed=UNSET if confirmed else False,
    )


def unconfirmed(worker: Worker) -> Iterator[StuckTask]:
    """Yield what the last beat of *worker*, which is dead, names: whether it still stands, its engine knows."""
    beat = worker.beat
    for each in beat.running:
        yield StuckTask(
            id=each.id,
            cause=Cause.WORKER_DEAD,
            state="running",
            name=each.name,
            queue=each.queue,
            version=beat.version,
            worker=beat.worker_id,
            since=worker.at,
        )


def dead_worker(worker: Worker) -> DeadWorker:
    """Return *worker*, which is dead, as it is told to those who may see details."""
    beat = worker.beat
    return DeadWorker(
        engine=label(beat.engine),
        version=_told(beat.version),
        since=_moment(worker.at) or datetime.fromtimestamp(0, UTC),
        running=[label(each.id) for each in beat.running],
        running_count=beat.running_count,
        id=label(beat.worker_id),
        host=label(beat.host),
        pid=beat.pid,
    )


def for_anybody(report: StuckReport) -> StuckReport:
    """Return *report* without names of workers and hosts."""
    dead = [replace(each, id=UNSET, host=UNSET, pid=UNSET) for each in report.workers.dead_workers]
    return replace(
        report,
        stuck=[replace(each, worker=UNSET) for each in report.stuck],
        workers=replace(report.workers, dead_workers=dead),
    )


def _told(name: str | None) -> str | None:
    return None if name is None else label(str(name))


def _moment(epoch_seconds: float | None) -> datetime | None:
    """Return *epoch_seconds* in whole seconds; `None` also for what no calendar has."""
    if epoch_seconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(epoch_seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
