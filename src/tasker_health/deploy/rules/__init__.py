"""What Prometheus is told to look at: alerts, each with a condition, how long it holds first, and what is said of it.

The rules for whoever writes one:

* A figure of the fleet is asked by `max by`, or as it was recorded; a figure of a process may be summed.
* What is not known is absent, and fires nothing.
* Thresholds are those of the settings. The description says the figure, the summary what is wrong.
* Its name has a row and a paragraph in docs/monitoring.md, and its place in the test `rules_test.yml`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tasker_health.settings import HealthSettings

SLOW_SECONDS = 0.2
"""Of the original's guide: answers that take longer than 200 ms are worth a look."""

_RATE_SECONDS = 300

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Windows:
    """Lengths over which failures are looked at; all of them follow the window of the status.

    Attributes:
        long_seconds: The window itself: an hour.
        half_seconds: Half of it: 30 minutes.
        short_seconds: A twelfth: 5 minutes, and never less than a few scrapes.
        fivefold_seconds: Five of it; with what the window holds, six.
        rate_seconds: Over which counters of a process are looked at: 5 minutes at most, unless they are few scrapes.
    """

    long_seconds: int
    half_seconds: int
    short_seconds: int
    fivefold_seconds: int
    rate_seconds: int

    @property
    def long(self) -> str:
        """The window itself, as Prometheus reads it."""
        return duration(self.long_seconds)

    @property
    def half(self) -> str:
        """Half of it."""
        return duration(self.half_seconds)

    @property
    def short(self) -> str:
        """A twelfth of it."""
        return duration(self.short_seconds)

    @property
    def fivefold(self) -> str:
        """Five of it."""
        return duration(self.fivefold_seconds)

    @property
    def rate(self) -> str:
        """Over which counters are looked at."""
        return duration(self.rate_seconds)


def windows_of(health: HealthSettings, interval_seconds: int) -> Windows:
    """Return the windows of a service with *health*, scraped every *interval_seconds*."""
    window = health.metrics_window_seconds
    least = 4 * interval_seconds + math.ceil(health.cache_duration_seconds)
    short = max(math.ceil(window / 12), least)
    return Windows(
        long_seconds=max(1, round(window)),
        half_seconds=max(math.ceil(window / 2), short),
        short_seconds=short,
        fivefold_seconds=max(math.ceil(5 * window), short),
        rate_seconds=max(min(_RATE_SECONDS, math.ceil(window)), 4 * interval_seconds),
    )


@dataclass(frozen=True)
class AlertRule:
    """One alert.

    Attributes:
        name: Of the alert, and of its heading on the page that says what to do.
        severity: `critical` wakes somebody, `warning` is read in the morning.
        expression: PromQL; what it answers is what is wrong.
        for_seconds: So long it holds before anybody is told.
        summary, description: One sentence each; `{{ $value }}` is what the expression answered.
    """

    name: str
    severity: Severity
    expression: str
    for_seconds: int
    summary: str
    description: str

    @property
    def patience(self) -> str:
        """How long it holds before it fires, as Prometheus reads it."""
        return duration(self.for_seconds)


def duration(seconds: int) -> str:
    """Return whole *seconds* as Prometheus reads them, in the largest unit that fits: `5m`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
