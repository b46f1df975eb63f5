"""SIGTERM of an application that somebody else's server runs: unready at once, stopped a little later."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

_LOOPS = ("asyncio", "uvloop")


class Termination:
    """Stands before the handler that the server has for SIGTERM.

    Kubernetes sends SIGTERM and takes the pod out of its Services at the same time; whoever stops at once refuses what
    is still on its way (Kubernetes, "Termination of Pods"). A second SIGTERM is handed on at once.

    Args:
        drain_seconds: How much later the server gets the signal.
    """

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._handed_on: Callable[[int, FrameType | None], Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._drain: Callable[[], Awaitable[None]] | None = None
        self._begun = False

    def watch(self, drain: Callable[[], Awaitable[None]]) -> bool:
        """Await *drain* on SIGTERM, from the running event loop; return whether that could be had.

        It cannot in a thread, nor where nobody handles SIGTERM, nor where the event loop itself does
        (`loop.add_signal_handler`): what is registered there cannot be called by another.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(handler) or _is_of_a_loop(handler):
            log.debug("SIGTERM is not the server's to be drained for; call `await health.drain()` before it stops")
            return False
        self._handed_on, self._drain, self._begun = handler, drain, False
        self._loop = asyncio.get_running_loop()
        signal.signal(signal.SIGTERM, self._on_signal)
        return True

    def leave(self) -> None:
        """Give the signal back to the server."""
        if self._handed_on is not None and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._handed_on)
        if self._task is not None:
            self._task.cancel()
        self._handed_on = self._task = self._loop = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._loop is not None and not self._begun:
            self._begun = True
            self._loop.call_soon_threadsafe(self._begin)
        elif self._handed_on is not None:
            self._handed_on(number, frame)

    def _begin(self) -> None:
        if self._loop is not None:
            self._task = self._loop.create_task(self._drain_and_hand_on())

    async def _drain_and_hand_on(self) -> None:
        try:
            if self._drain is not None:
                await self._drain()
        except Exception:
            log.exception("the drain has failed; the server is stopped all the same")
        await asyncio.sleep(self._drain_seconds)
        if self._handed_on is not None:
            self._handed_on(signal.SIGTERM, None)


def _is_of_a_loop(handler: Any) -> bool:
    owner = getattr(handler, "__self__", None)
    return isinstance(owner, asyncio.AbstractEventLoop) or str(getattr(handler, "__module__", "")).startswith(_LOOPS)
