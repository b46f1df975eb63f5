"""The endpoint for people: a page for a browser, and the status for everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tasker_health.access.gate import Gate
from tasker_health.history import History
from tasker_health.model import SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.request import Request
from tasker_health.web.negotiation import prefers_page
from tasker_health.web.refusal import admission
from tasker_health.web.render import Answer

if TYPE_CHECKING:
    from tasker_health.web.page.status import StatusPage

_OK, _UNAVAILABLE = 200, 503


class People:
    """Answers browsers with a page.

    Args:
        monitor: Who knows.
        gate: Who may read the status.
        history: Answers how the last hour was; `None`: nobody remembers.
        otherwise: Answers everybody else.
    """

    def __init__(
        self,
        monitor: Monitor,
        gate: Gate,
        history: Callable[[], History] | None,
        otherwise: Callable[[Request], Awaitable[Answer]],
    ) -> None:
        self._monitor, self._gate, self._history, self._otherwise = monitor, gate, history, otherwise
        self._page: StatusPage | None = None

    async def answer(self, request: Request) -> Answer:
        """Return the answer to *request*."""
        if not prefers_page(request):
            return await self._otherwise(request)
        # Where nobody has a browser, none of this is read.
        from tasker_health.web.page.refused import refused
        from tasker_health.web.page.status import Shown, StatusPage

        admitted = await admission(self._gate, request)
        if admitted.refusal is not None:
            challenges = self._gate.challenges if self._gate.authenticators else []
            return refused(admitted.refusal.status, admitted.refusal, challenges)
        report, readiness = await asyncio.gather(self._monitor.status(), self._monitor.ready())
        history = None if self._history is None else self._history()
        shown = self._monitor.detailed(report) if admitted.detail else report
        if self._page is None:
            self._page = StatusPage()
        code = _UNAVAILABLE if report.status is SystemStatus.UNHEALTHY else _OK
        return await self._page.answer(code, Shown(shown, readiness, history, self._monitor.service_name))
