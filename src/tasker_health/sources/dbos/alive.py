"""What waits and what runs in one snapshot, and what such work usually takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.sources.dbos import alive_queries as queries
from tasker_health.sources.dbos.owners import Running
from tasker_health.sources.dbos.tables import Tables

MOST_SAMPLES = 2000
"""What a workflow usually takes is told from so many of those that have succeeded last, of any name."""

LEAST_SAMPLES = 20
"""It is known when so many of them have its name."""

FAR_BEYOND, FAR_MS = 2.0, 10_000
"""A workflow runs for too long beyond so many times its p99, and so much longer than that."""


class Waiting(NamedTuple):
    """Workflows that wait, and are alike; times are milliseconds since the epoch.

    Attributes:
        queue, version: Where, and of which version of the application.
        number: How many.
        first: Since when the first has been waiting.
        old: How many of them have been waiting for longer than the time after which work is stuck.
        next_old: Since when the first has been waiting that is not old yet; `None`: all are.
    """

    queue: str | None
    version: str | None
    number: int
    first: int
    old: int
    next_old: int | None


class Alive:
    """What was found at one moment.

    Attributes:
        waiting: What is ENQUEUED.
        running: What is PENDING.
        limits: How many of a queue may run at once, where it has a limit; `None`: this role may not know.
        usual: p99 of each name, in milliseconds; `None`: nothing runs for so long that it would matter.
    """

    def __init__(self, waiting: list[Waiting], running: list[Running], limits: dict[str, int] | None) -> None:
        self.waiting = waiting
        self.running = running
        self.limits = limits
        self.usual: dict[str, float] | None = None
        self._next_old = min((each.next_old for each in waiting if each.next_old is not None), default=math.inf)

    def is_of(self, cutoff: int) -> bool:
        """Return whether nothing has become old meanwhile, but what was so before *cutoff* had been moved on."""
        return self._next_old >= cutoff

    def runs_long(self, task: Running, now: int) -> bool:
        """Return whether *task* has been running far beyond what its name usually takes."""
        usual = (self.usual or {}).get(task.name or "")
        return usual is not None and now - task.since > max(FAR_BEYOND * usual, usual + FAR_MS)


class Finder:
    """Finds what is alive in the snapshot of a connection.

    Args:
        tables: DBOS' tables.
        stuck_ms: Work without a change for so long is stuck.
        window_ms: Of what usually goes on.
    """

    def __init__(self, tables: Tables, stuck_ms: int, window_ms: int) -> None:
        self._tables = tables
        self._stuck_ms = stuck_ms
        self._window_ms = window_ms

    def find(self, connection: sa.Connection, now: int, known: Alive | None = None) -> Alive:
        """Return what is alive *now*; *known* was found at a moment since which nothing was written."""
        rows, old = self._tables.rows, now - self._stuck_ms
        if known is not None and known.is_of(old):
            alive = known
        else:
            waiting = [Waiting(*row) for row in rows(connection, queries.WAITING, old=old)]
            running = [Running(*row) for row in rows(connection, queries.RUNNING)]
            alive = Alive(waiting, running, self._limits(connection))
        if alive.usual is None and any(now - task.since > FAR_MS for task in alive.running):
            found = rows(connection, queries.LENGTHS, since=now - self._window_ms, most=MOST_SAMPLES)
            alive.usual = _usual(found)
        return alive

    def waiting(self, connection: sa.Connection, parts: Sequence[Waiting], old: int, most: int) -> list[Any]:
        """Return the *most* of *parts* that have been waiting longest, of those that did so before *old*."""
        found: list[Any] = []
        for part in sorted(parts, key=lambda each: each.first):
            if len(found) >= most and part.first > found[most - 1].since:
                break
            values = {"queue": part.queue or "", "version": part.version or "", "old": old, "most": most}
            found += self._tables.rows(connection, queries.NAMED, **values)
            found.sort(key=lambda row: (row.since, row.id))
        return found[:most]

    def dead_letters(self, connection: sa.Connection, most: int) -> tuple[int, list[Any]]:
        """Return how many workflows were recovered too often, and the *most* of them that were created last."""
        number = self._tables.rows(connection, queries.DEAD_LETTERS)[0].number
        return number, self._tables.rows(connection, queries.NAMED_DEAD_LETTERS, most=most) if number else []

    def _limits(self, connection: sa.Connection) -> dict[str, int] | None:
        """Return the limits of queues; `None` where this role may not read them."""
        if self._tables.dialect == "postgresql":
            asked = self._tables.rows(connection, queries.MAY_READ_QUEUES, queues=self._tables.names["queues"])
            if not asked[0].may:
                return None
        return {row.name: row.concurrency for row in self._tables.rows(connection, queries.LIMITS)}


def _usual(rows: Sequence[Any]) -> dict[str, float]:
    """Return the p99 of each name by the nearest rank, where there are enough of it."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.took >= 0:
            lengths[row.name or ""].append(row.took)
    return {
        name: sorted(each)[math.ceil(0.99 * len(each)) - 1]
        for name, each in lengths.items()
        if len(each) >= LEAST_SAMPLES
    }
