"""The room of objectives: how fast the failures that are borne are used up.

Of the source's outcomes, minute by minute, each objective keeps the good and the bad: by the minute for six hours, by
the hour for its whole period. What falls out of one goes into the other. The rules are those of Google's SRE workbook,
chapter "Alerting on SLOs", table 5-8: multiwindow, multi-burn-rate.

* A burn rate of 1 uses up what is borne just at the end of the period.
* A window is known when nine tenths of its minutes were seen; else its burn rate is `None`, never 0.
* A reading of the same minute again replaces what was known of it, if it tells more: work that ended is committed late.
"""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.work import Urgency

HOUR_MINUTES = 60
FINE_MINUTES = 6 * HOUR_MINUTES
"""So far back minutes are told apart."""

KNOWN_SHARE = 0.9
"""Of the minutes of a window, so many must have been seen."""

MOST_BURNT = 0.9
"""No threshold is above this share of failures: a burn of 14.4 times 10 % would never come."""

WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "6h": 360, "3d": 4320}
"""Windows that are told, in minutes."""


class Alarm(NamedTuple):
    """A rule: it fires while both windows burn faster than the threshold.

    Attributes:
        severity: How urgent it is.
        long, short: Windows: the first makes sure that it matters, the second that it still goes on.
        spent: Share of what is borne that is used up within the long window at the threshold.
    """

    severity: Urgency
    long: str
    short: str
    spent: float


ALARMS = (
    Alarm(Urgency.PAGE, "1h", "5m", 0.02),
    Alarm(Urgency.PAGE, "6h", "30m", 0.05),
    Alarm(Urgency.TICKET, "3d", "6h", 0.10),
)


def threshold(alarm: Alarm, objective: float, window_days: int) -> float:
    """Return the burn rate from which *alarm* fires; 14.4, 6 and 1 for a period of 30 days."""
    usual = alarm.spent * window_days * 24 * HOUR_MINUTES / WINDOWS[alarm.long]
    return min(usual, MOST_BURNT / (1 - objective))
