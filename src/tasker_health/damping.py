"""Damping: what a check that flaps amounts to."""

from __future__ import annotations

from msgspec.structs import replace

from tasker_health.model import CheckResult, CheckStatus


class Damping:
    """Keeps a check that flaps from being failed and well in turns.

    Args:
        fail_after: So many failures in a row make it failed; before that it is degraded, with their reason.
        recover_after: So many good runs in a row make a failed check well; before that it stays as it was.
    """

    def __init__(self, fail_after: int, recover_after: int) -> None:
        self._fail_after = fail_after
        self._recover_after = recover_after
        self._failures = self._recoveries = 0
        self._failure: CheckResult | None = None

    def __call__(self, result: CheckResult) -> CheckResult:
        """Return what *result*, after all that came before it, amounts to."""
        if result.status is CheckStatus.ERROR:
            self._failures, self._recoveries = self._failures + 1, 0
            if self._failure is None and self._failures < self._fail_after:
                return replace(result, status=CheckStatus.DEGRADED)
            self._failure = result
            return result
        self._failures, self._recoveries = 0, self._recoveries + 1
        if self._failure is not None and self._recoveries < self._recover_after:
            return self._failure
        self._failure = None
        return result
