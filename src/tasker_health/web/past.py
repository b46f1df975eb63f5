"""The endpoint of the history: who may read it, and its bytes."""

from __future__ import annotations

from collections.abc import Callable

from tasker_health.access.gate import Gate
from tasker_health.history import History
from tasker_health.request import Request
from tasker_health.web.refusal import admission
from tasker_health.web.render import Answer, render

_OK = 200


class Past:
    """Answers those who ask how the last hour was.

    Args:
        history: Answers that, without waiting for anybody.
        gate: Who may read the status, and so the history.
    """

    def __init__(self, history: Callable[[], History], gate: Gate) -> None:
        self._history = history
        self._gate = gate
        self._answered: tuple[History, Answer] | None = None

    async def answer(self, request: Request) -> Answer:
        """Return the last hour: 200, however bad it was."""
        refusal = (await admission(self._gate, request)).refusal
        if refusal is not None:
            return refusal
        history, answered = self._history(), self._answered
        if answered is None or answered[0] is not history:
            answered = self._answered = (history, render(_OK, history))
        return answered[1]
