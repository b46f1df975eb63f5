"""`application/health+json`, as draft-inadarei-api-health-check-06 has it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from tasker_health.model import (
    CheckResult,
    CheckStatus,
    DetailedStatusReport,
    Liveness,
    Readiness,
    Startup,
    StatusReason,
    StatusReport,
    SystemStatus,
)
from tasker_health.web.formats import Figure, fields_of


class HealthStatus(StrEnum):
    """The three words of the draft; `fail` goes with 503, the others with 200."""

    PASS = "pass"  # noqa: S105 -- a word of the draft
    WARN = "warn"
    FAIL = "fail"


class HealthComponent(Struct, frozen=True, kw_only=True, rename="camel"):
    """One observation of one part."""

    component_id: str | UnsetType = UNSET
    component_type: str
    observed_value: Figure | UnsetType = UNSET
    observed_unit: str | UnsetType = UNSET
    status: HealthStatus | UnsetType = UNSET
    time: datetime
    output: str | UnsetType = UNSET


class HealthDocument(Struct, frozen=True, kw_only=True, rename="camel"):
    """A health check response."""

    status: HealthStatus
    service_id: str | UnsetType = UNSET
    output: str | UnsetType = UNSET
    checks: dict[str, list[HealthComponent]]


_OF_CHECK = {
    CheckStatus.OK: HealthStatus.PASS,
    CheckStatus.DEGRADED: HealthStatus.WARN,
    CheckStatus.UNKNOWN: HealthStatus.WARN,
    CheckStatus.ERROR: HealthStatus.FAIL,
}
_OF_SYSTEM = {
    SystemStatus.HEALTHY: HealthStatus.PASS,
    SystemStatus.DEGRADED: HealthStatus.WARN,
    SystemStatus.UNHEALTHY: HealthStatus.FAIL,
}
_BECAUSE_OF = {
    "performance_metrics:failure_ratio": StatusReason.FAILURE_RATIO,
    "system_health:blocked_tasks": StatusReason.BLOCKED_TASKS,
    "system_health:stuck_tasks": StatusReason.STUCK_TASKS,
    "database:connection_ratio": StatusReason.CONNECTIONS,
}
_UNITS = {"ms": "ms", "seconds": "s"}


class HealthJson:
    """The format `health`."""

    name = "health"
    media_type = "application/health+json"
    by_accept = True

    def live(self, report: Liveness) -> HealthDocument:
        """Return `pass`, or `fail` with how long the process has been wedged."""
        status = HealthStatus.PASS if report.alive else HealthStatus.FAIL
        stalled = report.stalled_seconds is not UNSET
        process = HealthComponent(
            component_type="system",
            observed_value=report.stalled_seconds,
            observed_unit="s" if stalled else UNSET,
            status=status,
            time=report.timestamp,
            output=report.reason,
        )
        return HealthDocument(
            status=status,
            service_id=report.service,
            output=report.reason,
            checks={"process:stalled_seconds" if stalled else "process": [process]},
        )

    def ready(self, report: Readiness) -> HealthDocument:
        """Return `fail` where a check that decides has failed, `warn` where another one is not well, else `pass`."""
        failed, degraded = report.failed_checks or [], report.degraded_checks or []
        status = HealthStatus.FAIL if failed else HealthStatus.WARN if degraded else HealthStatus.PASS
        return HealthDocument(
            status=status,
            output=", ".join([*failed, *degraded]) or UNSET,
            checks={
                f"{name}:responseTime": [self._check(result, report.timestamp, fails=name in failed)]
                for name, result in report.checks.items()
            },
        )

    def startup(self, report: Startup) -> HealthDocument:
        """Return `fail` while something is waited for, which is named."""
        status = HealthStatus.PASS if report.started else HealthStatus.FAIL
        waited_for = report.waiting_for or []
        part = HealthComponent(
            component_type="component",
            status=status,
            time=report.timestamp,
            output="waited for" if waited_for else UNSET,
        )
        return HealthDocument(
            status=status,
            output=", ".join(waited_for) or UNSET,
            checks={name: [part] for name in waited_for or ["startup"]},
        )

    def status(self, report: StatusReport) -> HealthDocument:
        """Return each figure by its group and name, what is wrong marked `warn`, and each source."""
        checks = {}
        for group in ("system_health", "performance_metrics", "database", "cache_info"):
            for name, value in fields_of(getattr(report, group), without=("overall_status",)).items():
                key = f"{group}:{name}"
                checks[key] = [self._figure(key, value, report)]
        sources = [self._source(name, report) for name in report.sources]
        return HealthDocument(
            status=_OF_SYSTEM[report.status],
            output=", ".join(report.reasons) or UNSET,
            checks={**checks, **({"sources:status": sources} if sources else {})},
        )

    def _check(self, result: CheckResult, ended: datetime, *, fails: bool) -> HealthComponent:
        return HealthComponent(
            component_type="component",
            observed_value=result.response_time_ms,
            observed_unit=UNSET if result.response_time_ms is UNSET else "ms",
            status=HealthStatus.FAIL if fails else _OF_CHECK[result.status],
            time=ended,
            output=result.reason,
        )

    def _figure(self, key: str, value: Figure, report: StatusReport) -> HealthComponent:
        """Return one figure; only one that is a reason has a status: nobody has judged the others."""
        reason = _BECAUSE_OF.get(key)
        return HealthComponent(
            component_type="datastore" if key.startswith("database:") else "component",
            observed_value=value,
            observed_unit=_UNITS.get(key.rpartition("_")[2], UNSET),
            status=HealthStatus.WARN if reason in report.reasons else UNSET,
            time=report.timestamp,
            output=reason if reason is not None and reason in report.reasons else UNSET,
        )

    def _source(self, name: str, report: StatusReport) -> HealthComponent:
        source = report.sources[name]
        detail = report.details.get(name) if isinstance(report, DetailedStatusReport) else None
        said = detail.error if detail is not None else None
        return HealthComponent(
            component_id=name,
            component_type="datastore",
            observed_value=source.status,
            status=_OF_SYSTEM[source.status],
            time=source.timestamp,
            output=said or source.reason or ", ".join(source.reasons) or UNSET,
        )
