"""Everything counted in one snapshot: where a tally begins, and what it is verified against."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from tasker_health.sources.tasker import late_queries, queries
from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.poll import Poll, ended_of, failing_of, touch_steps
from tasker_health.sources.tasker.relations import Relations
from tasker_health.sources.tasker.tally import PENDING, Counts, Tally


class FullCount:
    """Counts everything that the snapshot of a connection shows.

    Args:
        relations: The tables.
        window_seconds: Of averages and ratios.
        by_group: Whether tasks are counted by named task.
    """

    def __init__(self, relations: Relations, window_seconds: float, *, by_group: bool) -> None:
        self._relations = relations
        self._window_seconds = window_seconds
        self._poll = Poll(relations, by_group=by_group)
        self._states = queries.STATES_BY_GROUP if by_group else queries.STATES

    def run(self, connection: sa.Connection, low: Ids, now: float) -> Tally:
        """Return a tally whose counts are those of everything up to the ids *low*, for a poll to go on from.

        Args:
            connection: In a snapshot that began after *low* was settled.
            low: Up to these ids nothing new can appear; `NEVER`: the counts are those of everything.
            now: The time, in seconds since the epoch.
        """
        rows = self._relations.rows
        tally = Tally(low, self._window_seconds)
        window: dict[str, Any] = {"first": tally.window.first_bucket(now), "width": tally.window.bucket_seconds}
        _, above = self._poll.moves(connection, low, low)
        tally.counts = self._everything(connection).plus(above, -1)
        window |= {f"settled_{name}": value for name, value in low._asdict().items()}
        steps = touch_steps(tally, rows(connection, queries.ALL_ENDED_STEPS, **window))
        ended, _ = ended_of(rows(connection, queries.ALL_ENDED_TASKS, **window), steps)
        tally.window.add(ended.items())
        for row in rows(connection, late_queries.ALL_LATELY, **window, since=tally.since_minute(now)):
            if not row.open:
                tally.recent.take(row)
        tally.running = {row.task_id: row.last for row in rows(connection, queries.ALL_RUNNING)}
        tally.failing = failing_of(rows(connection, queries.ALL_FAILING))
        tally.blocked = self._poll.blocked(connection, tally)
        self._find_oldest_pending(connection, tally)
        return tally

    def _everything(self, connection: sa.Connection) -> Counts:
        """Return how many are in each state: by the newest transitions, and pending who has none."""
        counts = Counts()
        stateless: Counter[Any] = Counter()
        for row in self._relations.rows(connection, self._states):
            if row.kind == "task":
                counts.tasks[row.grp, row.state] += row.number
                stateless[row.grp] -= row.number
            elif row.kind == "tasks":
                stateless[row.grp] += row.number
            elif row.kind == "step":
                counts.steps[row.state] += row.number
                counts.steps[PENDING] -= row.number
            else:
                counts.steps[PENDING] += row.number
        for group, number in stateless.items():
            counts.tasks[group, PENDING] += number
        return counts

    def _find_oldest_pending(self, connection: sa.Connection, tally: Tally) -> None:
        rows = self._relations.rows
        first = rows(connection, queries.FIRST_PENDING)[0][0]
        tally.pending_from = min(first if first is not None else tally.low.tasks + 1, tally.low.tasks + 1)
        found = rows(connection, queries.OLDEST_PENDING, pending_from=first) if first is not None else []
        tally.oldest_pending = (found[0].task_id, found[0].created) if found else None
