"""Everything counted in one snapshot: where a tally begins, and what it is verified against."""

from __future__ import annotations

import sqlalchemy as sa

from tasker_health.sources.dbos import alive_queries, queries
from tasker_health.sources.dbos.poll import Poll
from tasker_health.sources.dbos.tables import Keys, Tables
from tasker_health.sources.dbos.tally import Moves, Tally

NEVER = Keys(*[2**62] * 3)
"""Above every key."""


class FullCount:
    """Counts everything that the snapshot of a connection shows.

    Args:
        tables: DBOS' tables.
        poll: Goes on from what was counted.
        window_ms: Of averages and ratios.
        retries: Whether each attempt of a step is recorded, so that retries can be counted.
    """

    def __init__(self, tables: Tables, poll: Poll, window_ms: int, *, retries: bool) -> None:
        self._tables = tables
        self._poll = poll
        self._window_ms = window_ms
        self._retries = retries

    def run(self, connection: sa.Connection, low: Keys, now: int) -> Tally:
        """Return a tally of everything, for polls to go on from the keys *low*.

        Args:
            connection: In a snapshot that began after *low* was settled.
            low: Below these keys nothing new can appear; `NEVER`: no poll goes on.
            now: The time, in milliseconds since the epoch.
        """
        tally = Tally(low, self._window_ms)
        values = {f"{name}_to": value for name, value in low._asdict().items()}
        stateless = self._count_states(connection, tally, values)
        self._count_window(connection, tally, values, now)
        self._poll.find_running(connection, tally)
        if self._retries:
            rows = self._tables.rows
            tally.touch_waiting((), rows(connection, queries.ALL_WAITING, stateless=stateless))
            tally.touch_settled((), rows(connection, queries.ALL_SETTLED, since=tally.since(now)))
        tally.forget(now)
        return tally

    def _count_states(self, connection: sa.Connection, tally: Tally, values: dict[str, int]) -> int:
        """Count the tasks; return how many have no state."""
        stateless = 0
        for row in self._tables.rows(connection, queries.ALL_STATES[self._tables.dialect], **values):
            tally.tasks += row.number
            stateless += row.number if row.status is None else 0
            if row.status in queries.ALIVE_STATES:
                tally.alive[row.status] += row.number
            elif row.part == "untimed":
                tally.untimed[row.status] += row.number
            elif row.part == "folded":
                tally.ended[row.status] += row.number
            else:
                tally.above.ended[row.status] += row.number
        if tally.low.tasks < NEVER.tasks:
            for row in self._tables.rows(connection, queries.NEW_TASKS, tasks_from=tally.low.tasks, **values):
                tally.above.take(row)
        tally.tasks -= tally.above.tasks
        return stateless

    def _count_window(self, connection: sa.Connection, tally: Tally, values: dict[str, int], now: int) -> None:
        since = tally.since(now)
        window = {**values, "width": tally.width_ms, "since": since, "ended_from": since}
        sides = (Moves(), Moves())
        for query in (queries.ALL_TASKS_ENDED, queries.ALL_STEPS):
            for row in self._tables.rows(connection, query, **window):
                sides[bool(row.is_open)].take(row)
        tally.window.add(sides[False].buckets.items())
        tally.above.buckets = sides[True].buckets
        window |= dict.fromkeys(("since", "ended_from"), tally.since_minute(now))
        for row in self._tables.rows(connection, alive_queries.ALL_RECENT, **window):
            (tally.above if row.is_open else tally).recent.take(row)
