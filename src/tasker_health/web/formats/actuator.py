"""`application/vnd.spring-boot.actuator.v3+json`, as Spring Boot's health endpoint answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from tasker_health.model import (
    CheckResult,
    CheckStatus,
    DetailedStatusReport,
    Liveness,
    Readiness,
    Reason,
    Startup,
    StatusReport,
    SystemStatus,
)
from tasker_health.web.formats import Figure, fields_of

Details = dict[str, Figure | list[str] | dict[str, int | dict[str, int]]]


class ActuatorStatus(StrEnum):
    """The four words of Spring Boot; at the top, `DOWN` and `OUT_OF_SERVICE` go with 503."""

    UP = "UP"
    DOWN = "DOWN"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"
    UNKNOWN = "UNKNOWN"


class ActuatorHealth(Struct, frozen=True, kw_only=True):
    """How one thing is, and in which detail; or how the things are that it consists of."""

    status: ActuatorStatus
    components: dict[str, ActuatorHealth] | UnsetType = UNSET
    details: Details | UnsetType = UNSET


_OF_CHECK = {
    CheckStatus.OK: ActuatorStatus.UP,
    CheckStatus.DEGRADED: ActuatorStatus.UP,
    CheckStatus.UNKNOWN: ActuatorStatus.UNKNOWN,
    CheckStatus.ERROR: ActuatorStatus.DOWN,
}


class Actuator:
    """The format `actuator`."""

    name = "actuator"
    media_type = "application/vnd.spring-boot.actuator.v3+json"
    by_accept = True

    def live(self, report: Liveness) -> ActuatorHealth:
        """Return the state of liveness as Spring Boot names it."""
        status = ActuatorStatus.UP if report.alive else ActuatorStatus.DOWN
        return _state("livenessState", status, fields_of(report, without=("alive",)))

    def ready(self, report: Readiness) -> ActuatorHealth:
        """Return each check as a component, and the state of readiness: `OUT_OF_SERVICE` while draining."""
        status = ActuatorStatus.UP
        failed = [report.checks[name] for name in report.failed_checks or []]
        if not report.ready:
            drains = all(result.reason is Reason.DRAINING for result in failed)
            status = ActuatorStatus.OUT_OF_SERVICE if drains else ActuatorStatus.DOWN
        told = fields_of(report, without=("ready", "checks"))
        state = _state("readinessState", status, told).components or {}
        return ActuatorHealth(
            status=status,
            components={**{name: _check(result) for name, result in report.checks.items()}, **state},
        )

    def startup(self, report: Startup) -> ActuatorHealth:
        """Return `OUT_OF_SERVICE` while something is waited for, which is named."""
        status = ActuatorStatus.UP if report.started else ActuatorStatus.OUT_OF_SERVICE
        return _state("startupState", status, fields_of(report, without=("started",)))

    def status(self, report: StatusReport) -> ActuatorHealth:
        """Return the figures as details of `tasks`, and a component for the database and for each source."""
        status = _of_system(report.status)
        tasks = {
            **fields_of(report, without=("system_health", "performance_metrics", "database", "sources", "details")),
            **_figures(report),
        }
        tasks |= tasks.pop("cache_info")
        known = report.database.active_connections is not None
        components = {
            "tasks": ActuatorHealth(status=status, details=tasks),
            "database": ActuatorHealth(
                status=ActuatorStatus.UP if known else ActuatorStatus.UNKNOWN, details=fields_of(report.database)
            ),
        }
        if report.sources:
            sources = {name: _source(name, report) for name in report.sources}
            components["sources"] = ActuatorHealth(status=status, components=sources)
        return ActuatorHealth(status=status, components=components)


def _state(name: str, status: ActuatorStatus, details: Details) -> ActuatorHealth:
    return ActuatorHealth(status=status, components={name: ActuatorHealth(status=status, details=details)})


def _check(result: CheckResult) -> ActuatorHealth:
    """Return one check; Spring Boot has no word for degraded, so our own stands in the details."""
    return ActuatorHealth(status=_OF_CHECK[result.status], details=fields_of(result))


def _of_system(status: SystemStatus) -> ActuatorStatus:
    return ActuatorStatus.DOWN if status is SystemStatus.UNHEALTHY else ActuatorStatus.UP


def _figures(report: Any) -> Details:
    return {**fields_of(report.system_health, without=("overall_status",)), **fields_of(report.performance_metrics)}


def _source(name: str, report: StatusReport) -> ActuatorHealth:
    source = report.sources[name]
    details: Details = {**fields_of(source, without=("system_health", "performance_metrics")), **_figures(source)}
    if isinstance(report, DetailedStatusReport) and name in report.details:
        details |= fields_of(report.details[name])
    return ActuatorHealth(status=_of_system(source.status), details=details)
