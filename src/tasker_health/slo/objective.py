"""One objective: which work it is about, and how it is met."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tasker_health.clock import timestamp
from tasker_health.settings import SloSettings
from tasker_health.slo import ALARMS, HOUR_MINUTES, KNOWN_SHARE, WINDOWS, Alarm, threshold
from tasker_health.slo.ledger import Ends, EndsLedger
from tasker_health.work import Outcome, SloReport, Urgency

_DAY_MINUTES = 24 * HOUR_MINUTES
_MINUTE_SECONDS = 60
_MOST_SECONDS = 253_402_300_799
"""The end of the year 9999; an engine may say anything."""


class Objective:
    """Judges what its ledger has seen.

    Args:
        name: Its name in the settings.
        settings: Which work, and how much of it is to end well.

    Attributes:
        ledger: What was seen.
        firing, since: What fires, and since which minute since the epoch; 0: nothing does.
    """

    def __init__(self, name: str, settings: SloSettings) -> None:
        self.name = name
        self.settings = settings
        self.ledger = EndsLedger(settings.window_days)
        self._judged: tuple[tuple[int, int], SloReport] | None = None
        self.firing: Urgency | None = None
        self.since: int = 0

    def is_about(self, source: str) -> bool:
        """Return whether work of *source* counts."""
        return self.settings.source in {None, source}

    def ends_of(self, outcomes: Iterable[Outcome]) -> dict[int, tuple[int, int]]:
        """Return how much of its work ended well and badly in each minute of *outcomes*."""
        wanted, found = self.settings, dict[int, tuple[int, int]]()
        for each in outcomes:
            if wanted.handler in {None, each.handler} and wanted.queue in {None, each.queue}:
                good, bad = found.get(each.minute, (0, 0))
                found[each.minute] = (good + each.completed, bad + each.failed)
        return found

    def judge(self, now_minute: int) -> SloReport:
        """Return how it is met at *now_minute*, and note what fires since when."""
        key = now_minute, self.ledger.version
        if self._judged is not None and self._judged[0] == key:
            return self._judged[1]
        report = self._judge(now_minute)
        self._judged = key, report
        return report

    def _judge(self, now_minute: int) -> SloReport:
        ends = {name: self.ledger.within(minutes, now_minute) for name, minutes in WINDOWS.items()}
        rates = {name: self._burn_rate(each, WINDOWS[name]) for name, each in ends.items()}
        firing = next((alarm.severity for alarm in ALARMS if self._fires(alarm, rates, ends)), None)
        if firing != self.firing:
            self.firing, self.since = firing, now_minute if firing else 0
        return SloReport(
            objective=self.settings.objective,
            burn_rates=rates,
            budget_left=self._budget_left(now_minute),
            firing=firing,
            since=_moment(self.since) if self.since else None,
            known_since=self._known_since(),
        )

    def _fires(self, alarm: Alarm, rates: dict[str, float | None], ends: dict[str, Ends]) -> bool:
        limit = threshold(alarm, self.settings.objective, self.settings.window_days)
        slow, fast = rates[alarm.long], rates[alarm.short]
        enough = ends[alarm.long].all >= self.settings.min_events
        return slow is not None and fast is not None and enough and slow > limit and fast > limit

    def _burn_rate(self, ends: Ends, window_minutes: int) -> float | None:
        if ends.minutes < KNOWN_SHARE * window_minutes:
            return None
        return round(ends.bad / ends.all / (1 - self.settings.objective), 4) if ends.all else 0.0

    def _budget_left(self, now_minute: int) -> float | None:
        period = self.settings.window_days * _DAY_MINUTES
        ends = self.ledger.within(period, now_minute)
        if ends.minutes < KNOWN_SHARE * period:
            return None
        return round(1 - ends.bad / ends.all / (1 - self.settings.objective), 4) if ends.all else 1.0

    def _known_since(self) -> datetime | None:
        firsts = [*(hour * HOUR_MINUTES for hour in self.ledger.hours), *self.ledger.minutes]
        return _moment(min(firsts)) if firsts else None


def _moment(minute: int) -> datetime:
    return timestamp(max(0, min(minute * _MINUTE_SECONDS, _MOST_SECONDS)))
