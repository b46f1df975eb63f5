"""The last hour in memory: what was seen in each slot, bounded, and put together with what others have seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeVar

from msgspec import UNSET, Meta, Struct

from tasker_health.history import WINDOW_SECONDS
from tasker_health.model import CheckResult, CheckStatus, SystemStatus

T = TypeVar("T")

FIGURES = ("pending", "running", "completed", "failed", "cancelled", "other", "blocked", "stuck", "retry_queue")
"""The figures of a slot, in their order."""

STATUSES = (SystemStatus.HEALTHY, SystemStatus.DEGRADED, SystemStatus.UNHEALTHY)
CHECK_STATUSES = (CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.DEGRADED, CheckStatus.ERROR)
"""The better before the worse; a place in these is a rank."""

_RANKS = {status: rank for rank, status in enumerate(CHECK_STATUSES)}

MOST_CELLS = 12_000
"""So many slots of checks at most: a hundred checks with the default length, sixteen with the shortest. With every
figure as long as it can be they make 300 KiB of JSON, with usual ones 60."""

MOST_MS = 3_600_000
MOST_COUNT = 2**63 - 1

_Rank = Annotated[int, Meta(ge=0, le=3)]
_Milliseconds = Annotated[int, Meta(ge=0, le=MOST_MS)]
_Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
_Ratio = Annotated[float, Meta(ge=0, le=1)]
_Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]


class Slot(Struct, array_like=True, forbid_unknown_fields=True):
    """What was seen in one slot.

    Attributes:
        number: Of the slot, on the fleet's time.
        status: The worst rank.
        read_at: When the figures were read, in seconds of the fleet's time; `None`: there are none.
        figures: As `FIGURES` names them; empty: there are none.
        failure_ratio: The status' own figure of that reading.
        check_status: The worst rank of each check, in the order of the names; it may be shorter than those.
        check_ms: The longest time of each, of the same length.
    """

    number: int
    status: Annotated[int, Meta(ge=0, le=2)] | None = None
    read_at: _Seconds | None = None
    figures: Annotated[list[_Count | None], Meta(max_length=len(FIGURES))] = []
    failure_ratio: _Ratio | None = None
    check_status: list[_Rank | None] = []
    check_ms: list[_Milliseconds | None] = []


class Slots:
    """The slots of the last hour.

    Args:
        slot_seconds: Length of each.
        most_checks: How many checks are remembered at most.

    Attributes:
        count: How many slots there are.
        most_checks: The same, or fewer, so that the whole is bounded.
        names: Of the checks, in the order of the slots.
        by_number: The slots in which something was seen.
        version: Grows with every change.
    """

    def __init__(self, slot_seconds: int, most_checks: int) -> None:
        self.slot_seconds = slot_seconds
        self.count: int = WINDOW_SECONDS // slot_seconds
        self.most_checks: int = min(most_checks, MOST_CELLS // self.count)
        self.names: list[str] = []
        self.by_number: dict[int, Slot] = {}
        self.version: int = 0
        self._places: dict[str, int] = {}
        self._last = 0
        self._pruned_at = -1

    def see_status(self, number: int, rank: int) -> None:
        """Remember that the system was as bad as *rank* in the slot *number*."""
        slot = self._slot(number)
        if slot.status is None or rank > slot.status:
            slot.status = rank
            self.version += 1

    def see_figures(self, number: int, read_at: float, figures: list[int | None], ratio: float | None) -> None:
        """Remember *figures*, read at *read_at*, as those at the end of the slot *number*."""
        slot = self._slot(number)
        if slot.read_at is None or read_at > slot.read_at:
            slot.read_at, slot.figures, slot.failure_ratio = read_at, figures, ratio
            self.version += 1

    def see_checks(self, number: int, results: Mapping[str, CheckResult]) -> None:
        """Remember how checks were in the slot *number*."""
        slot, places = self._slot(number), self._places
        statuses, times = slot.check_status, slot.check_ms
        for name, result in results.items():
            place = places.get(name)
            if place is None and (place := self._place_for(name, number)) is None:
                continue
            while place >= len(statuses):
                statuses.append(None)
                times.append(None)
            rank, before = _RANKS[result.status], statuses[place]
            if before is None or rank > before:
                statuses[place] = rank
                self.version += 1
            milliseconds = result.response_time_ms
            if milliseconds is not UNSET and ((known := times[place]) is None or milliseconds > known):
                times[place] = min(milliseconds, MOST_MS)
                self.version += 1

    def trim(self, last: int) -> None:
        """Forget what lies outside the hour that ends with the slot *last*."""
        first = last - self.count + 1
        outside = [number for number in self.by_number if not first <= number <= last]
        for number in outside:
            del self.by_number[number]
        self.version += bool(outside)

    def shift(self, slots: int, seconds: float) -> None:
        """Be on another time, on which every number is greater by *slots* and every moment by *seconds*."""
        moved = {}
        for slot in self.by_number.values():
            slot.number += slots
            if slot.read_at is not None:
                slot.read_at += seconds
            moved[slot.number] = slot
        self.by_number = moved
        self.version += 1

    def arrange(self, names: Iterable[str]) -> None:
        """Have the checks in the order of *names*, and then those of ours that are not among them."""
        arranged = list(dict.fromkeys([*names, *self.names]))[: self.most_checks]
        if arranged != self.names:
            self._arrange(arranged)

    def merge(self, theirs: Slot) -> None:
        """Put what others have seen in a slot beside what was seen here; the order of their checks is ours."""
        ours = self.by_number.get(theirs.number)
        if ours == theirs:
            return
        self.version += 1
        del theirs.check_status[self.most_checks :], theirs.check_ms[self.most_checks :]
        if ours is None:
            self.by_number[theirs.number] = theirs
            return
        ours.status = _greater(ours.status, theirs.status)
        # Of two that were read at one moment all are to have the same: theirs.
        if theirs.read_at is not None and (ours.read_at is None or theirs.read_at >= ours.read_at):
            ours.read_at, ours.figures, ours.failure_ratio = theirs.read_at, theirs.figures, theirs.failure_ratio
        ours.check_status = _greatest(ours.check_status, theirs.check_status)
        ours.check_ms = _greatest(ours.check_ms, theirs.check_ms)

    def _slot(self, number: int) -> Slot:
        slot = self.by_number.get(number)
        if slot is None:
            slot = self.by_number[number] = Slot(number, figures=[], check_status=[], check_ms=[])
            self.trim(max(self.by_number))
        return slot

    def _place_for(self, name: str, number: int) -> int | None:
        """Return the place of a check that is new; `None`: there is none left."""
        if len(self.names) >= self.most_checks and self._pruned_at != number:
            self._pruned_at = number  # once in a slot: it looks at all there is
            self._arrange([known for place, known in enumerate(self.names) if self._is_seen(place)])
        if len(self.names) >= self.most_checks:
            return None
        self._places[name] = len(self.names)
        self.names.append(name)
        return self._places[name]

    def _is_seen(self, place: int) -> bool:
        slots = self.by_number.values()
        return any(place < len(slot.check_status) and slot.check_status[place] is not None for slot in slots)

    def _arrange(self, names: list[str]) -> None:
        places = [self._places.get(name, MOST_CELLS) for name in names]
        for slot in self.by_number.values():
            # In place: whoever sees checks just now holds these lists.
            slot.check_status[:] = _picked(slot.check_status, places)
            slot.check_ms[:] = _picked(slot.check_ms, places)
        self.names, self.version = names, self.version + 1
        self._places.clear()
        self._places.update({name: place for place, name in enumerate(names)})


def _picked(values: Sequence[T | None], places: Sequence[int]) -> list[T | None]:
    return [values[place] if place < len(values) else None for place in places]


def _greater(ours: int | None, theirs: int | None) -> int | None:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return max(ours, theirs)


def _greatest(ours: list[int | None], theirs: list[int | None]) -> list[int | None]:
    """Return the greater of each pair; where one list is longer, its rest."""
    both = [_greater(*pair) for pair in zip(ours, theirs, strict=False)]
    return both + (ours if len(ours) > len(theirs) else theirs)[len(both) :]
