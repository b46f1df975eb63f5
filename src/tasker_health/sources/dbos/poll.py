"""One poll: what has been written since the last one is added to the tally, at a cost that knows no history."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from tasker_health.sources.dbos import alive_queries, queries
from tasker_health.sources.dbos.tables import Keys, Tables
from tasker_health.sources.dbos.tally import Moves, Tally


class Poll:
    """Brings a tally up to date within the snapshot of a connection.

    Args:
        tables: DBOS' tables.
        stuck_ms: A running task without a change for so long is stuck.
        retries: Whether each attempt of a step is recorded, so that retries can be counted.
    """

    def __init__(self, tables: Tables, stuck_ms: int, *, retries: bool) -> None:
        self._tables = tables
        self._stuck_ms = stuck_ms
        self._retries = retries

    def run(self, connection: sa.Connection, tally: Tally, settled: Keys, now: int) -> None:
        """Bring *tally* up to date.

        Args:
            connection: In a snapshot that began after *settled* was known.
            tally: What was known.
            settled: Below these keys nothing new can appear.
            now: The time, in milliseconds since the epoch.
        """
        low, settled = tally.low, Keys(*map(max, settled, tally.low))
        values = {**_keys(low, settled), "width": tally.width_ms, "since": tally.since(now)}
        folded, above, alive = Moves(), Moves(), Counter[str | None]()
        for row in self._tables.rows(connection, queries.MOVES, **values):
            if row.kind == "alive":
                alive[row.status] += row.number
            else:
                (above if row.is_open else folded).take(row)
        since = {**values, "since": tally.since_minute(now)}
        for row in self._tables.rows(connection, alive_queries.RECENT, **since):
            (above if row.is_open else folded).recent.take(row)
        touched = {row.workflow_uuid for row in self._tables.rows(connection, queries.TOUCHED, **values)}
        stuck = tally.stuck(now - self._stuck_ms)
        self._look_at(connection, tally, touched, stuck, now)
        tally.fold(low, settled, folded)
        tally.above, tally.alive, tally.verified = above, alive, stuck
        if len(tally.running) != alive["PENDING"]:
            # One was put back into its queue, which leaves no trace that an index leads to.
            self.find_running(connection, tally)
        tally.forget(now)

    def look_again(self, connection: sa.Connection, tally: Tally, now: int) -> None:
        """Look at what the time alone has made stuck, where nothing was written since the last poll."""
        stuck = tally.stuck(now - self._stuck_ms) - tally.verified
        if stuck:
            ids = self._tables.ids(sorted(stuck))
            tally.touch_running(stuck, self._tables.rows(connection, queries.RUNNING, ids=ids))
            tally.verified |= stuck
        tally.forget(now)

    def find_running(self, connection: sa.Connection, tally: Tally) -> None:
        """Find whatever runs."""
        running = self._tables.rows(connection, queries.ALL_RUNNING)
        tally.touch_running(list(tally.running), running)
        tally.verified = {row.workflow_uuid for row in running}

    def unchanged(self, connection: sa.Connection, cutoff: int) -> set[str]:
        """Return what runs and has not changed since *cutoff*, without a tally."""
        return {row.workflow_uuid for row in self._tables.rows(connection, queries.ALL_RUNNING) if row.last < cutoff}

    def _look_at(self, connection: sa.Connection, tally: Tally, touched: set[str], stuck: set[str], now: int) -> None:
        """Look again at the tasks *touched*, and at the *stuck*, for a task may change and not be touched."""
        rows, since = self._tables.rows, tally.since(now)
        if touched or stuck:
            ids = self._tables.ids(sorted(touched | stuck))
            tally.touch_running(touched | stuck, rows(connection, queries.RUNNING, ids=ids))
        if touched and self._retries:
            ids = self._tables.ids(sorted(touched))
            tally.touch_waiting(touched, rows(connection, queries.WAITING, ids=ids))
            tally.touch_settled(touched, rows(connection, queries.SETTLED, ids=ids, since=since))


def _keys(low: Keys, settled: Keys) -> dict[str, int]:
    """Return both as the queries name them."""
    return {
        **{f"{name}_from": value for name, value in low._asdict().items()},
        **{f"{name}_to": value for name, value in settled._asdict().items()},
    }
