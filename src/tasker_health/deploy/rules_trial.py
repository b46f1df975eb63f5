"""The figures of `rules_test.yml`: for how long its series last, so that every alert has had its time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tasker_health.deploy.rules import Windows
from tasker_health.settings import HealthSettings

_MARGIN = 10
_STEPS_OF_HALF = 40
_STEPS_OF_SHORT = 4
_LONGEST_STEP_SECONDS = 240
"""Prometheus takes a series for gone that has had no sample for five minutes."""


@dataclass(frozen=True)
class Trial:
    """Series that show what is wrong for so many samples, and then for so many that it is over.

    Attributes:
        step: Seconds from one sample to the next.
        wrong, over: Samples that follow the first one of each.
        settled, blocked, stale, can_fail, can_run_out: What the thresholds make of it: so many settled tasks are
            enough, so many blocked tasks are too many, facts of this age are too old; whether there can be too many
            failures, or too many connections, at all.
    """

    step: int
    wrong: int
    over: int
    settled: int
    blocked: int
    stale: int
    can_fail: bool
    can_run_out: bool

    @property
    def late(self) -> int:
        """When everything has fired that is wrong, in seconds."""
        return self.wrong * self.step

    @property
    def after(self) -> int:
        """When everything is over."""
        return (self.wrong + 1 + self.over) * self.step

    @property
    def always(self) -> str:
        """What follows a figure that stays, in promtool's notation of series."""
        return f"+0x{self.wrong + 1 + self.over}"

    @property
    def lasts(self) -> str:
        """What follows a figure while something is wrong."""
        return f"+0x{self.wrong}"

    @property
    def rests(self) -> str:
        """What follows a figure when it is over."""
        return f"+0x{self.over}"

    @property
    def grows(self) -> str:
        """A figure that grows while something is wrong."""
        return f"0+10x{self.wrong}"

    @property
    def ended(self) -> int:
        """Where it has come to."""
        return 10 * self.wrong

    @property
    def samples(self) -> int:
        """How many samples there are while something is wrong."""
        return self.wrong + 1


def trial_of(health: HealthSettings, windows: Windows, patience: Iterable[int], interval_seconds: int) -> Trial:
    """Return the trial of rules with these *windows*, which wait for these seconds, *patience*, before they fire."""
    half = max(windows.half_seconds, windows.rate_seconds)
    fit = min(math.ceil(half / _STEPS_OF_HALF), windows.short_seconds // _STEPS_OF_SHORT)
    step = min(_LONGEST_STEP_SECONDS, max(interval_seconds, fit))
    return Trial(
        step=step,
        wrong=math.ceil(max(patience) / step) + _MARGIN,
        over=math.ceil(half / step) + _MARGIN,
        settled=health.degraded_min_settled_tasks,
        blocked=health.degraded_blocked_tasks,
        stale=math.ceil(health.status_max_stale_seconds) + 1,
        can_fail=health.degraded_failure_ratio < 1,
        can_run_out=health.degraded_connection_ratio < 1,
    )
