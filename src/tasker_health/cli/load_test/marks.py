"""What the guide promises, and whether it was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tasker_health.cli.load_test.record import CACHED, UNCACHED, Record, percentile
from tasker_health.errors import ConfigurationError

PROMISE, TABLE = "promise", "table"
PASSED, MISSED, UNKNOWN = "passed", "missed", "unknown"


class Mark(NamedTuple):
    """One mark.

    Attributes:
        name: Such as `status.cached`.
        endpoint: Of whose answers.
        group: `promise` or `table`; each has a percentile of its own.
        limit_ms: What that percentile may be at most.
        kind: Of which answers; `None`: of all.
    """

    name: str
    endpoint: str
    group: str
    limit_ms: float
    kind: int | None = None


MARKS = (
    Mark("live", "live", PROMISE, 10),
    Mark("ready", "ready", PROMISE, 100),
    Mark("status", "status", PROMISE, 100),
    Mark("live.table", "live", TABLE, 10),
    Mark("ready.table", "ready", TABLE, 80),
    Mark("status.cached", "status", TABLE, 15, CACHED),
    Mark("status.uncached", "status", TABLE, 120, UNCACHED),
)
"""The guide's promises, and the upper ends of its table (live 5-10, ready 50-80, status 10-15 cached, 80-120 not):
to be faster than its lower ends is no fault."""


@dataclass(frozen=True)
class Terms:
    """What the marks are held against.

    Attributes:
        marks: The marks.
        promise_percentile: Of the promises: what is promised is for nearly everybody.
        table_percentile: Of the table: it tells what is usual.
    """

    marks: tuple[Mark, ...] = MARKS
    promise_percentile: float = 99
    table_percentile: float = 50

    def percentile_of(self, mark: Mark) -> float:
        """Return the percentile that *mark* is held against."""
        return self.promise_percentile if mark.group == PROMISE else self.table_percentile


class Verdict(NamedTuple):
    """Whether a mark was kept.

    Attributes:
        mark: Which.
        percentile: That it was held against.
        measured_ms: What that was; `None`: there was no such answer.
        outcome: `passed`, `missed`, or `unknown`: not to be told, because there is no such answer, or because this
            client was too busy for a slow answer to be blamed on the server.
    """

    mark: Mark
    percentile: float
    measured_ms: float | None
    outcome: str


def terms_of(words: list[str], promise_percentile: float, table_percentile: float) -> Terms:
    """Return the terms that `--mark NAME=MS` and the percentiles ask for.

    Raises:
        ConfigurationError: There is no such mark, or it is no time.
    """
    limits = {mark.name: mark.limit_ms for mark in MARKS}
    for word in words:
        name, _, value = word.partition("=")
        try:
            limit = float(value)
        except ValueError:
            limit = 0.0
        if name not in limits or not 0 < limit <= 60_000:  # noqa: PLR2004 -- the longest patience; refuses nan, too
            raise ConfigurationError(f"--mark {word}: allowed is NAME=MILLISECONDS with one of {', '.join(limits)}")
        limits[name] = limit
    for option, percent in (("--promise-percentile", promise_percentile), ("--table-percentile", table_percentile)):
        if not 0 < percent <= 100:  # noqa: PLR2004
            raise ConfigurationError(f"{option} {percent:g}: allowed is above 0 to 100")
    marks = tuple(mark._replace(limit_ms=limits[mark.name]) for mark in MARKS)
    return Terms(marks, promise_percentile, table_percentile)


def verdicts(terms: Terms, records: dict[str, Record], *, is_client_busy: bool) -> list[Verdict]:
    """Return whether each mark of what was asked was kept.

    Faults count with the time that they took: an answer that never came was no fast one.
    """
    found = []
    for mark in terms.marks:
        record = records.get(mark.endpoint)
        if record is None:
            continue
        values = sorted(record.latency_ms if mark.kind is None else record.of_kind(mark.kind))
        percent = terms.percentile_of(mark)
        measured = percentile(values, percent)
        outcome = UNKNOWN
        if measured is not None and measured <= mark.limit_ms:
            outcome = PASSED
        elif measured is not None and not is_client_busy:
            outcome = MISSED
        found.append(Verdict(mark, percent, measured, outcome))
    return found
