"""The rules: what a snapshot says is wrong. Pure functions; a figure that is not known says nothing, either way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from tasker_health.alerts import Observation, Severity
from tasker_health.exporters import Snapshot
from tasker_health.model import CheckResult, CheckStatus, Reason, StatusReason, StatusReport, SystemStatus
from tasker_health.settings import Settings
from tasker_health.work import Urgency

TOTAL_RATIO = 0.05
"""The guide's threshold (docs/HEALTH.md of tasker, "PagerDuty Integration")."""

TOTAL_SUMMARY = "Tasker failure rate exceeded 5%"
"""The guide's summary, word for word."""

MOST_DETAIL_BYTES = 8 * 1024
"""Most that is told of one observation; what is larger loses the figures of each source first."""

MOST_SUMMARY = 400

_SAYS_NOTHING = frozenset({Reason.NOT_RUN, Reason.DRAINING})
"""Reasons of a process that begins or ends, not of what it looks at."""

_EVENT_LOOP = "event_loop"
"""A check that is there only while it is not well."""


def observe(snapshot: Snapshot, settings: Settings) -> list[Observation]:
    """Return what each rule that is switched on says of *snapshot*."""
    rules = settings.alerts.rules
    details = _details(snapshot.status)
    found: list[Observation] = []
    if rules.total_failure_ratio:
        found.append(_total_failure_ratio(snapshot.status, details))
    if rules.window_failure_ratio:
        found.append(_window_failure_ratio(snapshot, settings, details))
    if rules.slos:
        found.extend(_objectives(snapshot))
    if rules.status != "off":
        found.append(_status(snapshot, details, degraded_counts=rules.status == "degraded"))
    if rules.checks != "off":
        found.extend(_checks(snapshot, degraded_counts=rules.checks == "degraded"))
    return found


def rule_of_check(name: str) -> str:
    """Return the name of the rule about the check *name*."""
    return f"check:{name}"


def _total_failure_ratio(status: StatusReport, details: dict[str, Any]) -> Observation:
    total, failed = status.system_health.total_tasks, status.system_health.failed_tasks
    holds = None if total is None or failed is None else total > 0 and failed / total > TOTAL_RATIO
    return Observation(
        rule="total_failure_ratio",
        holds=holds,
        is_of_fleet=True,
        severity=Severity.ERROR,
        summary=TOTAL_SUMMARY,
        details=details,
    )


def _window_failure_ratio(snapshot: Snapshot, settings: Settings, details: dict[str, Any]) -> Observation:
    performance, limits = snapshot.status.performance_metrics, settings.health
    settled, ratio = performance.settled_tasks, performance.failure_ratio
    holds: bool | None = None
    if settled is not None and settled < limits.degraded_min_settled_tasks:
        holds = False
    elif settled is not None and ratio is not None:
        holds = ratio > limits.degraded_failure_ratio
    share = "" if ratio is None else f"{ratio:.1%} of "
    return Observation(
        rule="window_failure_ratio",
        holds=holds,
        is_of_fleet=True,
        severity=Severity.ERROR,
        summary=_cut(
            f"{snapshot.service}: {share}the tasks settled within {limits.metrics_window_seconds:.0f} s failed,"
            f" more than {limits.degraded_failure_ratio:.1%}"
        ),
        details=details,
    )


def _objectives(snapshot: Snapshot) -> Iterator[Observation]:
    for name, slo in ({} if snapshot.status.slos is UNSET else snapshot.status.slos).items():
        known = [rate for rate in slo.burn_rates.values() if rate is not None]
        yield Observation(
            rule=f"slo:{name}",
            holds=slo.firing is Urgency.PAGE if known else None,
            is_of_fleet=True,
            severity=Severity.CRITICAL,
            summary=_cut(f"{snapshot.service}: objective {name} burns {max(known, default=0):g} times what is borne"),
            details={"slo": name, **msgspec.to_builtins(slo)},
        )


def _status(snapshot: Snapshot, details: dict[str, Any], *, degraded_counts: bool) -> Observation:
    report = snapshot.status
    is_unhealthy = report.status is SystemStatus.UNHEALTHY
    holds: bool | None = is_unhealthy or (degraded_counts and report.status is not SystemStatus.HEALTHY)
    if report.reasons == [StatusReason.NO_SOURCE]:
        holds = None  # nothing is known of anything
    return Observation(
        rule="status",
        holds=holds,
        is_of_fleet=True,
        severity=Severity.CRITICAL if is_unhealthy else Severity.WARNING,
        summary=_cut(f"{snapshot.service} is {report.status}: {', '.join(report.reasons) or 'no reason'}"),
        details=details,
    )


def _checks(snapshot: Snapshot, *, degraded_counts: bool) -> Iterator[Observation]:
    readiness = snapshot.readiness
    failed = readiness.failed_checks or ()
    for name, result in {_EVENT_LOOP: CheckResult(status=CheckStatus.OK), **readiness.checks}.items():
        is_critical = name in failed
        yield Observation(
            rule=rule_of_check(name),
            holds=_fails(result, is_critical=is_critical, degraded_counts=degraded_counts),
            is_of_fleet=False,
            severity=Severity.CRITICAL if is_critical else Severity.WARNING,
            summary=_cut(f"{snapshot.service}: check {name} is {result.status}{_because(result)}"),
            details={"check": name, **msgspec.to_builtins(result)},
        )


def _fails(result: CheckResult, *, is_critical: bool, degraded_counts: bool) -> bool | None:
    if result.status is CheckStatus.UNKNOWN or result.reason in _SAYS_NOTHING:
        return None
    return is_critical or (degraded_counts and result.status is not CheckStatus.OK)


def _because(result: CheckResult) -> str:
    return f" ({result.reason})" if isinstance(result.reason, Reason) else ""


def _details(report: StatusReport) -> dict[str, Any]:
    """Return the status document: of `StatusReport` alone, whose types hold no text of anybody."""
    told: dict[str, Any] = {
        name: msgspec.to_builtins(value)
        for name in StatusReport.__struct_fields__
        if name != "sources" and (value := getattr(report, name)) is not UNSET
    }
    whole = {**told, "sources": msgspec.to_builtins(report.sources)}
    return whole if len(msgspec.json.encode(whole)) <= MOST_DETAIL_BYTES else told


def _cut(summary: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in summary)[:MOST_SUMMARY]
