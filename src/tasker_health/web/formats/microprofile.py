"""MicroProfile Health 4.0, which has no media type of its own: plain `application/json`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from tasker_health.model import DetailedStatusReport, Liveness, Readiness, Startup, StatusReport, SystemStatus
from tasker_health.web.formats import fields_of

Data = dict[str, str | int | float | bool]

_UNKNOWN = "unknown"
_NONE_MEANS_NONE = frozenset({"cache_expires_at", "error"})


class MicroProfileStatus(StrEnum):
    """The two words of MicroProfile."""

    UP = "UP"
    DOWN = "DOWN"


class MicroProfileCheck(Struct, frozen=True, kw_only=True):
    """The result of one procedure."""

    name: str
    status: MicroProfileStatus
    data: Data | UnsetType = UNSET


class MicroProfileHealth(Struct, frozen=True, kw_only=True):
    """`DOWN` exactly when one of the checks is: whoever reads it is told to draw that conclusion."""

    status: MicroProfileStatus
    checks: list[MicroProfileCheck]


class MicroProfile:
    """The format `microprofile`."""

    name = "microprofile"
    media_type = "application/json"
    by_accept = False

    def live(self, report: Liveness) -> MicroProfileHealth:
        """Return one check, `livenessState`."""
        return _health(report.alive, [_check("livenessState", fields_of(report, without=("alive",)), up=report.alive)])

    def ready(self, report: Readiness) -> MicroProfileHealth:
        """Return each check, `DOWN` where it takes the process out of service; its own status is in the data."""
        failed = report.failed_checks or []
        checks = [_check(name, fields_of(result), up=name not in failed) for name, result in report.checks.items()]
        told = fields_of(report, without=("ready", "checks"))
        return _health(report.ready, [*checks, _check("readinessState", told, up=report.ready)])

    def startup(self, report: Startup) -> MicroProfileHealth:
        """Return `startupState`, and what is waited for."""
        waiting = [_check(name, {}, up=False) for name in report.waiting_for or []]
        told = {"timestamp": fields_of(report)["timestamp"]}
        return _health(report.started, [_check("startupState", told, up=report.started), *waiting])

    def status(self, report: StatusReport) -> MicroProfileHealth:
        """Return `tasks`, `database` and each source; `DOWN` only where the whole is."""
        up = report.status is not SystemStatus.UNHEALTHY
        told = fields_of(report, without=("sources", "details"))
        database, cache_info = told.pop("database"), told.pop("cache_info")
        tasks = {**told.pop("system_health"), **told.pop("performance_metrics"), **cache_info, **told}
        return _health(
            up,
            [
                _check("tasks", tasks, up=up),
                _check("database", database, up=True),
                *(_source(name, report, up=up) for name in report.sources),
            ],
        )


def _health(up: bool, checks: list[MicroProfileCheck]) -> MicroProfileHealth:
    return MicroProfileHealth(status=MicroProfileStatus.UP if up else MicroProfileStatus.DOWN, checks=checks)


def _check(name: str, told: Mapping[str, Any], *, up: bool) -> MicroProfileCheck:
    status = MicroProfileStatus.UP if up else MicroProfileStatus.DOWN
    return MicroProfileCheck(name=name, status=status, data=_data(told) or UNSET)


def _data(told: Mapping[str, Any]) -> Data:
    """Return *told* as the format allows it: text, numbers and truth, in one level, and no null."""
    data: Data = {}
    for name, value in told.items():
        if isinstance(value, Mapping):
            data |= {f"{name}.{inner}": each for inner, each in _data(value).items()}
        elif value is not None or name not in _NONE_MEANS_NONE:
            data[name] = _UNKNOWN if value is None else ", ".join(value) if isinstance(value, list) else value
    return data


def _source(name: str, report: StatusReport, *, up: bool) -> MicroProfileCheck:
    source = report.sources[name]
    told = fields_of(source)
    told = {**told.pop("system_health"), **told.pop("performance_metrics"), **told}
    if isinstance(report, DetailedStatusReport) and name in report.details:
        told |= fields_of(report.details[name])
    return _check(f"source-{name}", told, up=up or source.status is not SystemStatus.UNHEALTHY)
