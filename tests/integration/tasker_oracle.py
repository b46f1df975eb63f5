"""What watches a source of Tasker's tables: in the very snapshot that it has read in, every row is counted again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from msgspec.structs import asdict, replace

from contract.ages import lies_between
from contract.backend import Rows
from contract.tasker_backend import TaskerOnPostgres
from contract.tasker_recount import COLUMNS, Recount
from integration.tasker_writers import connect
from server import PATIENCE_SECONDS
from tasker_health.model import Connections, Facts


@dataclass
class Moment:
    """Every row of one snapshot, and when it ended by the database's clock, in microseconds."""

    rows: Rows
    ended: int


class Oracle:
    """Reads a source, and compares what it says with a recount of its own snapshot.

    Args:
        tables: What is read.
        window_seconds, stuck_after_seconds: Of the source and of the recount.
        options: More of the source.

    Attributes:
        source: What is watched.
        compared: How many readings were compared.
        last: The last one of them.
    """

    def __init__(
        self, tables: TaskerOnPostgres, *, window_seconds: float, stuck_after_seconds: float, **options: Any
    ) -> None:
        self._tables = tables
        self._windows = window_seconds, stuck_after_seconds
        self.source = tables.source(window_seconds=window_seconds, stuck_after_seconds=stuck_after_seconds, **options)
        self._runner = asyncio.Runner()
        self._clock = connect(tables.url)
        self.compared = 0
        self.last: Facts | None = None

    def read(self) -> Facts:
        """Return what the source says."""
        return self._runner.run(self.source.read(30))

    def verify(self) -> int:
        """Return what the source finds when it compares itself."""
        return self._runner.run(self.source.verify(60))

    def close(self) -> None:
        """Give up its connection."""
        self._runner.run(self.source.close())
        self._runner.close()
        self._clock.close()

    def differences(self) -> dict[str, Any]:
        """Read once; return the figures that the recount does not find, each with what was found by either.

        Facts that say that they are old are read again: they are not those of this snapshot, and do not say so.
        """
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = self._now()
            with _seen(self._tables) as moments:
                facts = replace(self.read(), connections=Connections(), groups=None)
            if not facts.age_seconds or time.monotonic() > ends_at:
                break
        self.last = facts
        self.compared += 1
        if not moments:  # facts counted earlier, which say so
            return {"age_seconds": (facts.age_seconds, 0)}
        moment = moments[-1]
        first, last = (asdict(Recount(moment.rows, now, *self._windows).facts()) for now in (began, moment.ended))
        figures = asdict(facts).items()
        return {
            name: (figure, first[name])
            for name, figure in figures
            if name not in {"method", "drift", "age_seconds"} and not lies_between(figure, first[name], last[name])
        }

    def _now(self) -> int:
        statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        try:
            [(time,)] = self._clock.execute(statement).fetchall()
        except psycopg.OperationalError:  # the server is another one by now
            self._clock = connect(self._tables.url)
            [(time,)] = self._clock.execute(statement).fetchall()
        return int(time)


@contextlib.contextmanager
def _seen(tables: TaskerOnPostgres) -> Iterator[list[Moment]]:
    """Collect what is in the tables at the end of each snapshot in which somebody reads meanwhile, as he sees it."""
    moments: list[Moment] = []

    def look(connection: sa.Connection) -> None:
        times = (
            "SELECT current_setting('transaction_isolation'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        isolation, ended = connection.exec_driver_sql(times).one()
        if isolation == "repeatable read":
            moments.append(Moment(tables.raw_in(connection, COLUMNS), ended))

    sa.event.listen(sa.Engine, "rollback", look)
    try:
        yield moments
    finally:
        sa.event.remove(sa.Engine, "rollback", look)
