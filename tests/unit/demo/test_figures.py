"""What the console shows of a status."""

from datetime import UTC, datetime

from tasker_health.demo.figures import parts_of
from tasker_health.model import (
    CacheInfo,
    Connections,
    PerformanceMetrics,
    StatusReason,
    StatusReport,
    SystemHealth,
    SystemStatus,
)


def report(health, *reasons):
    """A status with *health* and *reasons*."""
    return StatusReport(
        status=health.overall_status,
        reasons=list(reasons),
        system_health=health,
        performance_metrics=PerformanceMetrics(),
        database=Connections(),
        sources={},
        timestamp=datetime.now(UTC),
        cache_info=CacheInfo(cached=False, cache_expires_at=None, age_seconds=0),
    )


def test_every_state_has_its_figure():
    """Somebody who adds up the figures on the console gets the total, and reads why it is degraded."""
    health = SystemHealth(
        overall_status=SystemStatus.DEGRADED,
        total_tasks=21,
        pending_tasks=1,
        running_tasks=2,
        completed_tasks=3,
        failed_tasks=4,
        cancelled_tasks=11,
        retry_queue_size=2,
        in_backoff=1,
    )
    assert [part.plain for part in parts_of(report(health, StatusReason.FAILURE_RATIO))] == [
        "orders 21",
        "queued 1",
        "running 2",
        "retrying 2 (1 in backoff)",
        "completed 3",
        "failed 4",
        "cancelled 11",
        "degraded: failure_ratio",
    ]


def test_what_is_not_known_is_not_shown_as_a_figure():
    """While the database is away there are no figures, and no zeros either."""
    unread = report(SystemHealth(overall_status=SystemStatus.UNHEALTHY), StatusReason.SOURCE_UNREADABLE)
    assert [part.plain for part in parts_of(unread)] == ["unhealthy: source_unreadable"]
