"""The endpoint of what stands still: who may read it, and its bytes."""

from __future__ import annotations

from tasker_health.access.gate import Gate
from tasker_health.monitor import Monitor
from tasker_health.request import Request
from tasker_health.stuck import StuckReport
from tasker_health.stuck.telling import for_anybody
from tasker_health.web.refusal import admission
from tasker_health.web.render import Answer, render

_OK = 200


class StuckEndpoint:
    """Answers those who ask what stands still, and why.

    Args:
        monitor: Who knows.
        gate: Who may read the status, and so this.
    """

    def __init__(self, monitor: Monitor, gate: Gate) -> None:
        self._monitor = monitor
        self._gate = gate
        self._answered: dict[bool, tuple[StuckReport, Answer]] = {}

    async def answer(self, request: Request) -> Answer:
        """Return what stands still: 200, however much that is, and also when a source could not say."""
        admitted = await admission(self._gate, request)
        if admitted.refusal is not None:
            return admitted.refusal
        report = await self._monitor.stuck()
        answered = self._answered.get(admitted.detail)
        if answered is None or answered[0] is not report:
            told = report if admitted.detail else for_anybody(report)
            answered = self._answered[admitted.detail] = report, render(_OK, told)
        return answered[1]
