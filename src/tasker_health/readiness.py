"""The verdict of readiness over what the checks found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET

from tasker_health.checks import Check
from tasker_health.model import CheckResult, CheckStatus, Readiness

_FAILING = frozenset({CheckStatus.ERROR, CheckStatus.UNKNOWN})


def groups_of(checks: Sequence[Check]) -> dict[str, list[str]]:
    """Return the names of the checks of each group."""
    groups: dict[str, list[str]] = {}
    for check in checks:
        for group in getattr(check, "groups", ()):
            groups.setdefault(group, []).append(check.name)
    return groups


def verdict(results: dict[str, CheckResult], critical: dict[str, bool], ended: datetime) -> Readiness:
    """Return the verdict over *results* of checks that *ended* then: critical ones decide, optional ones are listed."""
    failed = [name for name, result in results.items() if critical.get(name) and result.status in _FAILING]
    degraded = [name for name, result in results.items() if result.status is not CheckStatus.OK and name not in failed]
    return Readiness(
        ready=not failed,
        failed_checks=failed or UNSET,
        degraded_checks=degraded or UNSET,
        checks=results,
        timestamp=ended,
    )


def only(report: Readiness, name: str) -> Readiness:
    """Return *report* about the one check *name*, which decides here even when it is optional."""
    result = report.checks[name]
    failing = result.status in _FAILING
    return Readiness(
        ready=not failing,
        failed_checks=[name] if failing else UNSET,
        degraded_checks=[name] if result.status is CheckStatus.DEGRADED else UNSET,
        checks={name: result},
        timestamp=report.timestamp,
    )
