"""What is alive in one snapshot, and why some of it stands still."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.sources.procrastinate import queries
from tasker_health.sources.procrastinate.owners import Owner, Owners
from tasker_health.sources.procrastinate.tables import Tables
from tasker_health.sources.procrastinate.tally import Tally
from tasker_health.work import Cause, StuckTask
from tasker_health.workers import Workers

LEAST_SAMPLES = 20
"""What a task usually takes is known when so many have succeeded within the window."""

FAR_BEYOND, FAR_SECONDS = 2.0, 10.0
"""A job runs for too long beyond so many times its p99, and so much longer than that."""


class Part(NamedTuple):
    """Jobs that wait, and are alike.

    Attributes:
        queue: Where.
        again: Whether they were tried before.
        due: Whether their time has come.
        locked: Whether another job has their lock, or is to have it first.
    """

    queue: str
    again: bool
    due: bool
    locked: bool


class Running(NamedTuple):
    """A job that runs: since when it does, in seconds since the epoch, and why it stands still."""

    id: int
    queue: str
    task: str
    worker: int | None
    since: float | None
    cause: Cause | None
    is_old: bool


class Alive:
    """What waits and what runs.

    Attributes:
        waiting: How many jobs, by part.
        old: How many of them have been ready for longer than the time after which work is stuck.
        first: Since when the first of each part has been ready, in seconds since the epoch; those are left out of
            which that cannot be known.
        oldest_pending: Since when the pending job with the smallest id has been there; `None`: there is none.
        running: Which run.
        unserved: Queues that nobody takes work from.
    """

    def __init__(self) -> None:
        self.waiting: Counter[Part] = Counter()
        self.old: Counter[Part] = Counter()
        self.first: dict[Part, float] = {}
        self.oldest_pending: float | None = None
        self.running: list[Running] = []
        self.unserved: frozenset[str] = frozenset()

    def causes(self) -> dict[Cause, int]:
        """Return how many stand still, by cause; those that the source can see are all there."""
        seen = (Cause.WORKER_DEAD, Cause.NO_WORKER, Cause.LOCKED, Cause.NOT_TAKEN, Cause.RUNNING_LONG)
        causes = dict.fromkeys((*seen, Cause.NO_PROGRESS), 0)
        for each in self.running:
            if each.cause is not None:
                causes[each.cause] += 1
        for part, number in self.waiting.items():
            if not part.due:
                continue
            if part.queue in self.unserved:
                causes[Cause.NO_WORKER] += number
            elif part.locked:
                causes[Cause.LOCKED] += number
            else:
                causes[Cause.NOT_TAKEN] += self.old[part]
        return causes

    def stuck(self) -> int:
        """Return how many have begun, and have not changed for long."""
        return sum(each.is_old for each in self.running) + sum(
            number for part, number in self.old.items() if part.again and part.due
        )


class Finder:
    """Finds what is alive in the snapshot of a connection.

    Args:
        tables: Procrastinate's tables.
        stuck_after_seconds: Work without a change for so long is stuck.
    """

    def __init__(self, tables: Tables, stuck_after_seconds: float) -> None:
        self._tables = tables
        self._stuck_after = stuck_after_seconds

    def find(self, connection: sa.Connection, now: float, workers: Workers | None, tally: Tally | None) -> Alive:
        """Return what is alive *now*, in seconds since the epoch.

        Args:
            connection: In a snapshot.
            now: The time by the database's clock.
            workers: Who has a heartbeat of ours; `None`: it cannot be known.
            tally: Knows what each task usually takes; `None`: nobody does.
        """
        alive = Alive()
        self._find_waiting(connection, alive, now)
        heartbeats = {row.id: row.at for row in self._tables.rows(connection, queries.WORKERS)}
        owners = Owners(heartbeats, now, workers)
        alive.unserved = owners.unserved({part.queue for part in alive.waiting if part.due})
        rows = self._tables.rows(connection, queries.RUNNING)
        lengths = tally.lengths({row.task for row in rows}, now) if tally is not None else {}
        usual = {task: longest_usual(counted) for task, counted in lengths.items()}
        alive.running = [self._running(row, now, owners, usual.get(row.task)) for row in rows]
        return alive

    def name(self, connection: sa.Connection, alive: Alive, now: float, most: int) -> list[StuckTask]:
        """Return at most *most* jobs of each cause, the oldest first."""
        named = []
        for cause in alive.causes():
            those = [each for each in alive.running if each.cause is cause]
            those.sort(key=lambda each: (math.inf if each.since is None else each.since, each.id))
            named += [
                StuckTask(
                    id=str(each.id),
                    cause=cause,
                    state="running",
                    name=each.task,
                    queue=each.queue,
                    worker=None if each.worker is None else str(each.worker),
                    since=each.since,
                )
                for each in those[:most]
            ]
        values = {"now": now, "old": now - self._stuck_after, "unserved": sorted(alive.unserved), "most": most}
        for cause, query in (
            (Cause.NO_WORKER, queries.UNSERVED),
            (Cause.LOCKED, queries.LOCKED),
            (Cause.NOT_TAKEN, queries.NOT_TAKEN),
        ):
            if alive.causes()[cause]:
                named += [_waiting(row, cause) for row in self._tables.rows(connection, query, **values)]
        return named

    def _find_waiting(self, connection: sa.Connection, alive: Alive, now: float) -> None:
        values = {"now": now, "old": now - self._stuck_after}
        rows = self._tables.rows(connection, queries.WAITING, **values)
        pending = min((row.first_id for row in rows if not row.again), default=None)
        ids = sorted(
            {row.first_unscheduled for row in rows if row.first_unscheduled} | ({pending} if pending else set())
        )
        created = {row.id: row.at for row in self._tables.rows(connection, queries.CREATED, ids=ids)} if ids else {}
        alive.oldest_pending = created.get(pending)
        for row in rows:
            part = Part(row.queue, row.again, row.due, row.locked)
            alive.waiting[part] = row.number
            alive.old[part] = row.old
            times = [at for at in (row.first_scheduled, created.get(row.first_unscheduled)) if at is not None]
            if times:
                alive.first[part] = min(times)
        if any(at is not None and at < values["old"] for at in created.values()):
            for row in self._tables.rows(connection, queries.WAITING_LONG, **values):
                alive.old[Part(row.queue, row.again, row.due, row.locked)] += row.number

    def _running(self, row: Any, now: float, owners: Owners, usual: float | None) -> Running:
        seconds = None if row.since is None else now - row.since
        is_old = seconds is not None and seconds > self._stuck_after
        cause = None
        if owners.has_died(Owner(row.id, row.worker)):
            cause = Cause.WORKER_DEAD
        elif seconds is not None and usual is not None and seconds > max(FAR_BEYOND * usual, usual + FAR_SECONDS):
            cause = Cause.RUNNING_LONG
        elif is_old:
            cause = Cause.NO_PROGRESS
        return Running(row.id, row.queue, row.task, row.worker, row.since, cause, is_old)


def longest_usual(lengths: Counter[int]) -> float | None:
    """Return the p99 of executions in seconds, by their classes of length; `None`: too few to tell.

    A class is 5 % wide; its upper end is told.
    """
    total = lengths.total()
    if total < LEAST_SAMPLES:
        return None
    ordered: Sequence[int] = sorted(lengths)
    left = math.ceil(0.99 * total)
    for length in ordered:
        left -= lengths[length]
        if left <= 0:
            return math.exp(length / 20) / 1000
    return None


def _waiting(row: Any, cause: Cause) -> StuckTask:
    state = "running" if row.again else "pending"
    return StuckTask(id=str(row.id), cause=cause, state=state, name=row.task, queue=row.queue, since=row.since)
