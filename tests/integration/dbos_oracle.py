"""What watches a source of DBOS' tables: in the very snapshot that it has read in, every row is counted again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict, replace

from contract.ages import ages_of, grown, lies_between, without_ages
from contract.dbos_backend import DbosBackend
from contract.dbos_recount import Recount
from server import PATIENCE_SECONDS
from tasker_health.model import Connections, Facts

Row = dict[str, Any]


class Oracle:
    """Reads a source, and compares what it says with a recount of its own snapshot.

    Args:
        tables: What is read.
        window_seconds, stuck_after_seconds: Of the source and of the recount.

    Attributes:
        source: What is watched.
        compared: How many readings were compared.
    """

    def __init__(self, tables: DbosBackend, *, window_seconds: int, stuck_after_seconds: int) -> None:
        self._tables = tables
        self._windows = window_seconds * 1000, stuck_after_seconds * 1000
        self.source = tables.source(window_seconds=window_seconds, stuck_after_seconds=stuck_after_seconds)
        self._runner = asyncio.Runner()
        self.compared = 0

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

    def differences(self) -> dict[str, Any]:
        """Read once; return the figures that the recount does not find, each with what was found by either.

        Facts that say that they are old are read again: they are not those of this snapshot, and do not say so.
        """
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = self._tables.now_ms()
            with self._seen() as moments:
                facts = replace(self.read(), connections=Connections(), method=None, drift=None)
            if not facts.age_seconds or time.monotonic() > ends_at:
                break
        self.compared += 1
        if not moments:
            return {"age_seconds": (facts.age_seconds, 0)}
        before, after = (self._recount(moments[-1], now) for now in (began, self._tables.now_ms()))
        if not grown(facts, before, after):
            return {"ages": (ages_of(facts), ages_of(before))}
        facts, before, after = map(without_ages, (facts, before, after))
        first, last = asdict(before), asdict(after)
        return {
            name: (figure, first[name])
            for name, figure in asdict(facts).items()
            if not lies_between(figure, first[name], last[name])
        }

    def _recount(self, rows: tuple[list[Row], list[Row]], now_ms: int) -> Facts:
        # The window begins at a whole second.
        window_ms, stuck_ms = self._windows
        return Recount(*rows, now_ms, window_ms + now_ms % 1000, stuck_ms).facts()

    @contextlib.contextmanager
    def _seen(self) -> Iterator[list[tuple[list[Row], list[Row]]]]:
        """Collect what each snapshot in which somebody reads meanwhile shows of the tables, at its end."""
        moments: list[tuple[list[Row], list[Row]]] = []

        def look(connection: sa.Connection) -> None:
            if connection.dialect.name == "postgresql":
                isolation = connection.exec_driver_sql("SELECT current_setting('transaction_isolation')").scalar_one()
                if isolation != "repeatable read":
                    return
            moments.append(self._tables.rows_in(connection))

        sa.event.listen(sa.Engine, "rollback", look)
        try:
            yield moments
        finally:
            sa.event.remove(sa.Engine, "rollback", look)
