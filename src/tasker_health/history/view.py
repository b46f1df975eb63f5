"""Slots as those who look at charts want them: a series for each figure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tasker_health.history import CheckHistory, History
from tasker_health.history.slots import CHECK_STATUSES, FIGURES, STATUSES, Slot, Slots
from tasker_health.model import CheckStatus, SystemStatus

_STATUS: dict[int | None, SystemStatus | None] = {None: None, **dict(enumerate(STATUSES))}
_CHECK_STATUS: dict[int | None, CheckStatus | None] = {None: None, **dict(enumerate(CHECK_STATUSES))}
_NOTHING = (None,) * len(FIGURES)
_COMPLETED, _FAILED = FIGURES.index("completed"), FIGURES.index("failed")

_DISTINCT_SECONDS = 2
"""Readings that lie nearer to each other may be the same one: of one that came by the cache, the age is told in whole
seconds."""

Row = Slot | None


def view(slots: Slots, last: int, *, ends_at: float, is_shared: bool, replicas: int) -> History:
    """Return *slots* up to the one numbered *last*, which ends at *ends_at*, seconds since the epoch."""
    first = last - slots.count + 1
    rows = [slots.by_number.get(number) for number in range(first, last + 1)]
    figures = zip(*(row.figures if row is not None and row.figures else _NOTHING for row in rows), strict=True)
    rates = [_rates(before, row) for before, row in zip([slots.by_number.get(first - 1), *rows], rows, strict=False)]
    return History(
        timestamp=datetime.fromtimestamp(round(ends_at), UTC),
        slot_seconds=slots.slot_seconds,
        is_shared=is_shared,
        replicas=replicas,
        status=[None if row is None else _STATUS[row.status] for row in rows],
        tasks={name: list(column) for name, column in zip(FIGURES, figures, strict=True)},
        completed_per_minute=[completed for completed, _ in rates],
        failed_per_minute=[failed for _, failed in rates],
        failure_ratio=[None if row is None else row.failure_ratio for row in rows],
        checks=_checks(slots.names, rows),
    )


def _rates(before: Row, row: Row) -> tuple[float | None, float | None]:
    """Return how many tasks were completed and failed a minute, from one slot to the next; `None`: nobody knows."""
    if before is None or row is None or before.read_at is None or row.read_at is None:
        return None, None
    seconds = row.read_at - before.read_at
    changes = [_change(before, row, place) for place in (_COMPLETED, _FAILED)]
    # Rows were deleted: how many others came meanwhile, nobody knows.
    if seconds < _DISTINCT_SECONDS or any(change is not None and change < 0 for change in changes):
        return None, None
    completed, failed = (None if change is None else round(change * 60 / seconds, 2) for change in changes)
    return completed, failed


def _change(before: Slot, row: Slot, place: int) -> int | None:
    earlier, later = before.figures[place], row.figures[place]
    return None if earlier is None or later is None else later - earlier


def _checks(names: Sequence[str], rows: Sequence[Row]) -> dict[str, CheckHistory]:
    statuses = _columns([None if row is None else row.check_status for row in rows], len(names))
    times = _columns([None if row is None else row.check_ms for row in rows], len(names))
    return {
        name: CheckHistory(status=[_CHECK_STATUS[rank] for rank in status], response_time_ms=list(milliseconds))
        for name, status, milliseconds in zip(names, statuses, times, strict=True)
        if any(rank is not None for rank in status)
    }


def _columns(rows: Sequence[list[int | None] | None], width: int) -> list[tuple[int | None, ...]]:
    nothing: list[int | None] = [None] * width
    padded = [nothing if row is None else row + nothing[len(row) :] for row in rows]
    return list(zip(*padded, strict=True))
