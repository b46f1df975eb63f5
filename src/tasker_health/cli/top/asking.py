"""Asks a service again and again without ever holding up who shows it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

from tasker_health.cli.top.exchange import Exchange, NoAnswerError
from tasker_health.cli.top.snapshot import (
    Snapshot,
    Trouble,
    TroubleError,
    history_of,
    no_answer,
    ready_of,
    status_of,
)
from tasker_health.cli.top.target import Target
from tasker_health.deadline import in_thread
from tasker_health.history import History

_HISTORY_SECONDS = 10
"""How old the last hour may be: it has slots of this length or longer as a rule."""


class Asking:
    """Asks *target* in a thread that is left behind when it hangs.

    Args:
        target: Who is asked.
        patience_seconds: Longest wait for a whole round.
    """

    def __init__(self, target: Target, patience_seconds: float) -> None:
        self._target = target
        self._patience_seconds = patience_seconds
        self._exchange: Exchange | None = None
        self._running: Counter[str] = Counter()
        self._history: History | None = None
        self._history_at: float | None = None

    async def ask(self) -> Snapshot:
        """Return what is told now; it raises nothing, and takes no longer than its patience."""
        exchange = self._exchange or Exchange(self._target, self._patience_seconds)
        self._exchange = None
        told = [Snapshot()]
        try:
            answer = in_thread(lambda: self._round(exchange, told), "top", self._running)
        except (TimeoutError, RuntimeError) as error:
            return Snapshot(trouble=Trouble.DISCONNECTED, words=f"{error}; is the name of the host looked up in vain?")
        done, _ = await asyncio.wait({answer}, timeout=self._patience_seconds)
        if not done:
            exchange.abort()
            if told[-1].ready is not None and told[-1].status is not None:
                return told[-1]  # only the last hour hangs, and it decides nothing
            words = f"no answer within {self._patience_seconds:g} s; is the server hung?"
            return Snapshot(trouble=Trouble.DISCONNECTED, words=words)
        self._exchange = exchange
        return answer.result()

    def forget_history(self) -> None:
        """Ask for the last hour, too, the next time."""
        self._history_at = None

    def close(self) -> None:
        """Close the connection."""
        if self._exchange is not None:
            self._exchange.close()

    def _round(self, exchange: Exchange, told: list[Snapshot]) -> Snapshot:
        """Ask for everything, the status first; who is refused it may still read whether the service is ready.

        What is told before the end is put into *told*.
        """
        snapshot = Snapshot()
        try:
            try:
                snapshot = replace(snapshot, status=status_of(exchange.get("status")))
            except TroubleError as error:
                snapshot = replace(snapshot, trouble=error.trouble, words=str(error))
            ready = ready_of(exchange.get("ready"))
            if snapshot.status is None:
                return replace(snapshot, ready=ready)
            snapshot = replace(snapshot, ready=ready, history=self._history)
            told.append(snapshot)
            return replace(snapshot, history=self._last_hour(exchange))
        except NoAnswerError as error:
            trouble = no_answer(error)
        except TroubleError as error:
            trouble = error
        return snapshot if snapshot.trouble else replace(snapshot, trouble=trouble.trouble, words=str(trouble))

    def _last_hour(self, exchange: Exchange) -> History | None:
        now = time.monotonic()
        if self._history_at is None or now - self._history_at >= _HISTORY_SECONDS:
            self._history = history_of(exchange.get("history"))
            self._history_at = now
        return self._history
