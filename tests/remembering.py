"""Processes that remember the last hour in simulated time, over a cache that they share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fakes import settings_of, shared_of
from simulated import ReplicaClock
from tasker_health.clock import timestamp
from tasker_health.history.recorder import Recorder
from tasker_health.model import (
    CacheInfo,
    CheckResult,
    CheckStatus,
    Connections,
    PerformanceMetrics,
    Readiness,
    Reason,
    StatusReport,
    SystemHealth,
    SystemStatus,
)

OK, ERROR = (
    CheckResult(status=CheckStatus.OK, response_time_ms=3),
    CheckResult(status=CheckStatus.ERROR, response_time_ms=800, reason=Reason.TIMEOUT),
)


def status_of(at=0.0, status=SystemStatus.HEALTHY, *, age_seconds=0, cached=False, ratio=0.0, **figures):
    """Return a report of facts read at *at*, by the wall clock."""
    known = {"pending": 1, "running": 2, "completed": 3, "failed": 0, "cancelled": 0, "other": 0, **figures}
    return StatusReport(
        status=status,
        reasons=[],
        system_health=SystemHealth(
            overall_status=status,
            blocked_tasks=known.pop("blocked", 0),
            stuck_tasks=known.pop("stuck", 0),
            retry_queue_size=known.pop("retry_queue", 0),
            **{f"{name}_tasks": value for name, value in known.items()},
        ),
        performance_metrics=PerformanceMetrics(failure_ratio=ratio),
        database=Connections(),
        sources={},
        timestamp=timestamp(at),
        cache_info=CacheInfo(cached=cached, cache_expires_at=None, age_seconds=age_seconds),
    )


def readiness_of(**checks):
    """Return a report of *checks*."""
    return Readiness(ready=True, checks=checks, timestamp=datetime(2026, 1, 1, tzinfo=UTC))


class RememberedMonitor:
    """A monitor that answers what its world says, and shows it to whoever follows.

    Attributes:
        asked: When its status was asked for, on the monotonic clock.
        checks: What it says of readiness.
        status_now: How the system is.
        seconds: How long each answer takes.
        fault: What it raises instead.
    """

    def __init__(self, clock, per_minute=60):
        self.clock = clock
        self.per_minute = per_minute
        self.asked = []
        self.checks = {"database": OK}
        self.status_now = SystemStatus.HEALTHY
        self.seconds = 0.0
        self.fault = None
        self.on_status = self.on_readiness = lambda _report: None

    async def status(self, *, renew=True):
        """Return as many completed tasks as there must be by now, on the time of all machines."""
        assert not renew
        self.asked.append(self.clock.monotonic())
        await asyncio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        completed = round(self.clock.monotonic() * self.per_minute / 60)
        report = status_of(self.clock.now(), self.status_now, completed=completed)
        self.on_status(report)
        return report

    async def ready(self):
        """Return how the checks are."""
        report = readiness_of(**self.checks)
        self.on_readiness(report)
        return report


class Rememberer:
    """One process of the fleet that remembers."""

    def __init__(self, fleet, skew_seconds=0.0, key=None, cache=None, **history):
        fleet.cache.name = "simulated"  # not that of a process of its own
        self.clock = ReplicaClock(fleet.clock, skew_seconds)
        self.monitor = RememberedMonitor(self.clock)
        self.settings = settings_of(history=history, health={"service_name": "shop"})
        self.shared = shared_of(cache or fleet.cache, self.clock, service="shop", key=key)
        self.recorder = Recorder(self.settings, self.shared, lambda: self.monitor, self.clock)
        self.recorder.follow(self.monitor)

    @property
    def history(self):
        """How the last hour was, as this process tells it."""
        return self.recorder.history()

    async def __aenter__(self):
        self.recorder.start()
        return self

    async def __aexit__(self, *_error):
        await self.recorder.stop()
