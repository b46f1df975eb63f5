"""How fast the path to a database is, here and now: connecting, one query, and waiting for a connection."""

from __future__ import annotations

import asyncio
import statistics
import time

import sqlalchemy as sa

from tasker_health.cli.doctor.database_asking import DatabaseAsking
from tasker_health.cli.doctor.findings import Finding, note, warning
from tasker_health.driver import driver_of
from tasker_health.errors import DatabaseFault
from tasker_health.line import Line
from tasker_health.model import Reason

CONNECTS = 5
QUERIES = 50
QUERIES_SECONDS = 1.0
"""A slow database is asked less often."""

ROUND_TRIPS = 4
"""Of one question: the transaction begins, is bounded, is asked, and is rolled back."""

SHARE = 0.25
"""Of the deadline of readiness: what takes more of it leaves too little for a slow moment."""


class DatabaseSpeed:
    """Measures it.

    Args:
        asking: The database.
        readiness_timeout_seconds: The time in which readiness answers, whatever happens.

    Attributes:
        free: How many more connections the server takes, where that is known.
    """

    def __init__(self, asking: DatabaseAsking, readiness_timeout_seconds: float) -> None:
        self._asking = asking
        self._limit_ms = readiness_timeout_seconds * SHARE * 1000
        self._of = f"of health.readiness_timeout_seconds = {readiness_timeout_seconds:g}"
        self.free: int | None = None

    async def connect(self) -> Finding:
        """Tell how long a connection takes: the first question on one, less a second one on it."""
        if not driver_of(self._asking.pool.url).is_async:
            return note("connect", "not measured", "its driver only blocks, and connects for each question")
        times = []
        for _ in range(CONNECTS):
            line = self._asking.line()
            first, again = await self._timed(line), await self._timed(line)
            await line.close()
            times.append(max(0.0, first - again))
        median = statistics.median(times)
        words = f"{median:.1f} ms (median of {CONNECTS}), slowest {max(times):.1f} ms"
        figures = {"connect_ms_median": round(median, 2), "connect_ms_slowest": round(max(times), 2)}
        if median <= self._limit_ms:
            return Finding(what="connect", measured=words, figures=figures)
        remedy = (
            f"above {self._limit_ms:.0f} ms, a quarter {self._of}: the first answer after each fault will be late."
            " Look at the name server, TLS and the load of the server"
        )
        return warning("connect", words, remedy, figures)

    async def query(self) -> Finding:
        """Tell how long one query takes, there and back."""

        def ask(connection: sa.Connection) -> list[float]:
            times: list[float] = []
            ends_at = time.perf_counter() + QUERIES_SECONDS
            while len(times) < QUERIES and (not times or time.perf_counter() < ends_at):
                began = time.perf_counter()
                connection.execute(sa.select(1)).scalar_one()
                times.append((time.perf_counter() - began) * 1000)
            return sorted(times)

        times = await self._asking.ask(ask)
        p50, p99 = times[len(times) // 2], times[-1]
        words = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, of {len(times)}"
        figures = {"query_ms_p50": round(p50, 3), "query_ms_p99": round(p99, 3)}
        if p50 * ROUND_TRIPS <= self._limit_ms:
            return Finding(what="query", measured=words, figures=figures)
        remedy = (
            f"{ROUND_TRIPS} of them make one question, which is above {self._limit_ms:.0f} ms, a quarter {self._of}:"
            " ask from nearer to the database, or raise that and the prober's patience"
        )
        return warning("query", words, remedy, figures)

    async def pool(self) -> Finding:
        """Tell how long the last one waits when more ask at once than there are connections."""
        size = self._asking.pool.pool_size
        free = self.free
        if free is not None and free < size:
            remedy = "raise the server's maximum, or lower database.pool_size"
            return warning("pool", f"not opened: {size} connections, and the server has {free} left", remedy)
        await self._wave(size)  # opens them
        asked = size * 2
        try:
            wait = await self._wave(asked)
        except DatabaseFault as fault:
            if fault.reason is not Reason.POOL_EXHAUSTED:
                raise
            remedy = "raise database.pool_size, or database.checkout_timeout_seconds"
            return warning("pool", f"{asked} at once on {size} connections: {fault}", remedy)
        words = f"{asked} at once on {size} connections: the last began after {wait:.1f} ms"
        figures = {"pool_wait_ms": round(wait, 2), "pool_size": size}
        if wait <= self._limit_ms:
            return Finding(what="pool", measured=words, figures=figures)
        remedy = f"above {self._limit_ms:.0f} ms, a quarter {self._of}: raise database.pool_size"
        return warning("pool", words, remedy, figures)

    async def _timed(self, line: Line) -> float:
        began = time.perf_counter()
        await self._asking.ask(_nothing, line)
        return (time.perf_counter() - began) * 1000

    async def _wave(self, questions: int) -> float:
        """Return after how many milliseconds the last of so many *questions* began that were asked at once."""
        began = time.perf_counter()

        def ask(connection: sa.Connection) -> float:
            waited = (time.perf_counter() - began) * 1000
            connection.execute(sa.select(1)).scalar_one()
            return waited

        seconds = self._asking.left_seconds
        waits = await asyncio.gather(
            *(self._asking.pool.run(ask, deadline_seconds=seconds) for _ in range(questions)), return_exceptions=True
        )
        for wait in waits:
            if isinstance(wait, BaseException):
                raise wait
        return max(wait for wait in waits if not isinstance(wait, BaseException))


def _nothing(_connection: sa.Connection) -> None:
    """Ask nothing: a transaction begins and ends."""
