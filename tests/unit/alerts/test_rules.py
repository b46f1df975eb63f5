"""The rules: when each holds, and what it tells."""

from __future__ import annotations

import msgspec
import pytest

from alerting_fleet import snapshot_of
from fakes import settings_of
from tasker_health.alerts import Severity
from tasker_health.alerts.rules import MOST_DETAIL_BYTES, TOTAL_SUMMARY, observe
from tasker_health.model import (
    CheckResult,
    CheckStatus,
    DetailedStatusReport,
    Reason,
    SourceDetail,
    SourceReport,
    StatusReason,
    SystemHealth,
    SystemStatus,
)

ALL = {"status": "degraded", "checks": "degraded"}


def told(snapshot, **rules):
    """Return what each rule says, by its name."""
    return {each.rule: each for each in observe(snapshot, settings_of(alerts={"rules": rules}))}


@pytest.mark.parametrize(
    ("total", "failed", "holds"),
    [
        (100, 5, False),
        (100, 6, True),
        (1, 1, True),
        (0, 0, False),
        (20_000_000, 1_000_000, False),
        (20_000_000, 1_000_001, True),
        (None, 5, None),
        (100, None, None),
        (None, None, None),
    ],
)
def test_the_guide_s_rule(total, failed, holds):
    """More than 5 % of all tasks, none of none, and nothing of what is not known; its words, and the status."""
    found = told(snapshot_of(total=total, failed=failed))["total_failure_ratio"]
    assert found.holds is holds
    assert found.summary == TOTAL_SUMMARY == "Tasker failure rate exceeded 5%"
    assert found.details["system_health"]["failed_tasks"] == failed
    assert found.is_of_fleet


@pytest.mark.parametrize(
    ("settled", "ratio", "holds"),
    [(20, 0.06, True), (20, 0.05, False), (19, 1.0, False), (0, None, False), (None, 0.5, None), (20, None, None)],
)
def test_the_ratio_within_the_window(settled, ratio, holds):
    """Above the limit of the status, from as many tasks on as there."""
    found = told(snapshot_of(settled=settled, ratio=ratio))["window_failure_ratio"]
    assert found.holds is holds
    assert "shop" in found.summary


@pytest.mark.parametrize(
    ("status", "unhealthy", "degraded"),
    [(SystemStatus.HEALTHY, False, False), (SystemStatus.DEGRADED, False, True), (SystemStatus.UNHEALTHY, True, True)],
)
def test_the_status(status, unhealthy, degraded):
    """Unhealthy alone, or degraded, too, as the switch says; graver when it is graver."""
    snapshot = snapshot_of(status=status, reasons=[StatusReason.BLOCKED_TASKS])
    assert told(snapshot)["status"].holds is unhealthy
    assert told(snapshot, status="degraded")["status"].holds is degraded
    assert told(snapshot)["status"].severity is (
        Severity.CRITICAL if status is SystemStatus.UNHEALTHY else Severity.WARNING
    )


def test_a_service_without_a_source_has_no_status_to_tell_of():
    """Nothing is known of it."""
    snapshot = snapshot_of(status=SystemStatus.DEGRADED, reasons=[StatusReason.NO_SOURCE])
    assert told(snapshot, status="degraded")["status"].holds is None


@pytest.mark.parametrize(
    ("result", "unhealthy", "degraded"),
    [
        (CheckResult(status=CheckStatus.OK), False, False),
        (CheckResult(status=CheckStatus.DEGRADED, reason=Reason.AHEAD), False, True),
        (CheckResult(status=CheckStatus.ERROR, reason=Reason.TIMEOUT), True, True),
        (CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.NOT_RUN), None, None),
        (CheckResult(status=CheckStatus.ERROR, reason=Reason.DRAINING), None, None),
    ],
)
def test_each_check(result, unhealthy, degraded):
    """A critical one in error, or any that is not ok; a process that begins or ends says nothing."""
    snapshot = snapshot_of(checks={"database": result})
    assert told(snapshot)["check:database"].holds is unhealthy
    assert told(snapshot, checks="degraded")["check:database"].holds is degraded
    assert not told(snapshot)["check:database"].is_of_fleet


def test_the_lag_of_the_event_loop_ends():
    """Its check is there only while it lags: where it is not, it does not hold."""
    assert told(snapshot_of(), checks="degraded")["check:event_loop"].holds is False


def test_every_rule_can_be_switched_off():
    """And nothing is left then."""
    off = {"total_failure_ratio": False, "window_failure_ratio": False, "status": "off", "checks": "off"}
    assert told(snapshot_of(), **off) == {}


def test_nothing_is_told_of_what_is_not_known():
    """A status without a figure holds nothing, and ends nothing but what the status itself says."""
    found = told(snapshot_of(total=None, failed=None, settled=None, ratio=None))
    assert found["total_failure_ratio"].holds is found["window_failure_ratio"].holds is None


def test_details_are_bounded_and_hold_no_text():
    """A status with very many groups loses what each source says; what only some may see is never there."""
    snapshot = snapshot_of()
    report = snapshot.status
    groups = {f"group {number}": {"pending": number} for number in range(1000)}
    source = SourceReport(
        status=report.status,
        timestamp=report.timestamp,
        reasons=[],
        system_health=SystemHealth(overall_status=report.status),
        performance_metrics=report.performance_metrics,
        groups=groups,
    )
    fields = {name: getattr(report, name) for name in report.__struct_fields__} | {"sources": {"shop": source}}
    detailed = DetailedStatusReport(**fields, details={"shop": SourceDetail(error="host db-1", read_time_ms=1)})
    details = told(msgspec.structs.replace(snapshot, status=detailed))["status"].details
    assert len(msgspec.json.encode(details)) <= MOST_DETAIL_BYTES
    assert details["system_health"]["total_tasks"] == 100
    assert "details" not in details
