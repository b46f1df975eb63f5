"""What has ended well and badly, for one objective: by the minute for a while, by the hour for its period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tasker_health.slo import FINE_MINUTES, HOUR_MINUTES


class Ends(NamedTuple):
    """How much work has ended, in a minute or a longer time.

    Attributes:
        good, bad: How much of it well, and in error.
        minutes: How many minutes of that time were seen.
    """

    good: int = 0
    bad: int = 0
    minutes: int = 0

    @property
    def all(self) -> int:
        """Both together."""
        return self.good + self.bad


class EndsLedger:
    """Keeps them.

    Args:
        window_days: Period of the objective.

    Attributes:
        minutes: By the minute since the epoch, those that were seen.
        hours: By the hour since the epoch, what has fallen out of the minutes.
        version: Grows with every change.
    """

    def __init__(self, window_days: int) -> None:
        self._most_hours = window_days * 24
        self.minutes: dict[int, Ends] = {}
        self.hours: dict[int, Ends] = {}
        self.version: int = 0
        self._newest = 0

    def see(self, seen: Mapping[int, tuple[int, int]]) -> None:
        """Take how much ended well and badly in each minute *seen*; a minute in which nothing did has two zeros."""
        self.merge({minute: Ends(good, bad, 1) for minute, (good, bad) in seen.items()}, {})

    def merge(self, minutes: Mapping[int, Ends], hours: Mapping[int, Ends]) -> None:
        """Put what another process has seen beside what was seen here: of the same time, what tells more."""
        self._newest = max([self._newest, *minutes])
        self._fold()
        old = dict(hours)
        for minute, ends in minutes.items():
            hour = minute // HOUR_MINUTES
            if hour >= self._first_hour:
                self._keep(self.minutes, minute, ends)
            else:
                old[hour] = _sum(old.get(hour, Ends()), ends)
        for hour, ends in old.items():
            if self._first_hour - self._most_hours <= hour < self._first_hour:
                self._keep(self.hours, hour, ends)

    def within(self, window_minutes: int, now_minute: int) -> Ends:
        """Return what ended in the *window_minutes* before *now_minute*, the minute under way not included."""
        since = now_minute - window_minutes
        parts: Iterable[Ends] = [ends for minute, ends in self.minutes.items() if since <= minute < now_minute]
        if window_minutes > FINE_MINUTES:
            first = -(-since // HOUR_MINUTES)
            parts = [*parts, *(ends for hour, ends in self.hours.items() if hour >= first)]
        good = bad = seen = 0
        for ends in parts:
            good, bad, seen = good + ends.good, bad + ends.bad, seen + ends.minutes
        return Ends(good, bad, seen)

    @property
    def _first_hour(self) -> int:
        """The first hour of which the minutes are told apart."""
        return (self._newest - FINE_MINUTES) // HOUR_MINUTES

    def _keep(self, kept: dict[int, Ends], time: int, ends: Ends) -> None:
        # The greatest of all that anybody tells: whoever puts the same together, in whatever order, has the same.
        known = kept.get(time)
        if known is None or _rank(ends) > _rank(known):
            kept[time] = ends
            self.version += 1

    def _fold(self) -> None:
        """Move whole hours that are old out of the minutes, and forget what is older than the period."""
        first = self._first_hour
        for minute in [each for each in self.minutes if each // HOUR_MINUTES < first]:
            hour = minute // HOUR_MINUTES
            self.hours[hour] = _sum(self.hours.get(hour, Ends()), self.minutes.pop(minute))
        for hour in [each for each in self.hours if each < first - self._most_hours]:
            del self.hours[hour]


def _rank(ends: Ends) -> tuple[int, int, int]:
    return ends.minutes, ends.all, ends.bad


def _sum(one: Ends, other: Ends) -> Ends:
    return Ends(one.good + other.good, one.bad + other.bad, one.minutes + other.minutes)
