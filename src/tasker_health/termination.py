"""SIGTERM of an application that somebody else's server runs: unready at once, stopped a little later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from tasker_health.settings import Settings

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
        self._pid = 0

    @classmethod
    def of(cls, settings: Settings) -> Termination | None:
        """Return what *settings* ask for: with a guard, which tells that it drains, so long a drain as they say."""
        seconds = settings.server.drain_seconds if settings.guard.enabled else 0
        return cls(seconds) if seconds else None

    def watch(self, drain: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop | None = None) -> bool:
        """Await *drain* on SIGTERM; return whether that could be had.

        It cannot in a thread, nor where nobody handles SIGTERM, nor where the event loop itself does
        (`loop.add_signal_handler`): what is registered there cannot be called by another.

        Args:
            drain: What comes first.
            loop: Where it is awaited; `None`: on the running event loop, that of the main thread.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(handler) or _is_of_a_loop(handler):
            log.debug("SIGTERM is not the server's to be drained for; call `await health.drain()` before it stops")
            return False
        if not self._stands_before(handler):  # registered again, it would hand on to itself
            self._handed_on = handler
            signal.signal(signal.SIGTERM, self._on_signal)
        self._drain, self._begun = drain, False
        self._loop = loop or asyncio.get_running_loop()
        self._pid = os.getpid()
        return True

    def leave(self) -> None:
        """Give the signal back to the server.

        Outside the main thread, or behind a handler that came later, it can only be handed on to it as it comes.
        """
        task, self._task = self._task, None
        loop, self._loop = self._loop, None
        if task is not None and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(task.cancel)
        here = threading.current_thread() is threading.main_thread()
        if here and self._handed_on is not None and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._handed_on)
            self._handed_on = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A child that was forked from here has the handler, but not the loop: that is its parent's.
        if self._loop is not None and not self._begun and os.getpid() == self._pid:
            self._begun = True
            self._loop.call_soon_threadsafe(self._begin)
            behind = self._another()
            if behind is not None:  # it is unready now, not one drain later, and hands the signal on for both
                behind._drain_seconds = max(behind._drain_seconds, self._drain_seconds)  # noqa: SLF001 -- one of us
                behind._on_signal(number, frame)  # noqa: SLF001
        elif self._handed_on is not None:
            self._handed_on(number, frame)

    def _stands_before(self, handler: Any) -> bool:
        """Return whether the signal comes here through *handler* already: left in another thread, or behind another."""
        while isinstance(owner := getattr(handler, "__self__", None), Termination):
            if owner is self:
                return True
            handler = owner._handed_on  # noqa: SLF001 -- one of us
        return False

    def _another(self) -> Termination | None:
        """Return who is handed the signal when that is one of ours: of a second `Health` in this process."""
        owner = getattr(self._handed_on, "__self__", None)
        return owner if isinstance(owner, Termination) and owner._loop is not None else None  # noqa: SLF001 -- as above

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
        if self._handed_on is None or self._another() is not None:
            return
        if threading.current_thread() is threading.main_thread():
            self._handed_on(signal.SIGTERM, None)
        else:  # the second one is handed on, in the thread that handles signals
            os.kill(os.getpid(), signal.SIGTERM)


def _is_of_a_loop(handler: Any) -> bool:
    owner = getattr(handler, "__self__", None)
    return isinstance(owner, asyncio.AbstractEventLoop) or str(getattr(handler, "__module__", "")).startswith(_LOOPS)
