"""What holds up coroutines, of any event loop, until any thread lets them through."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Gate:
    """An `asyncio.Event` that belongs to no event loop: what is tested may run on that of another thread. It is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = True
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Return at once while it is set; else when it is."""
        with self._lock:
            if self._is_set:
                return
            passing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(passing)
        try:
            await passing
        finally:
            with self._lock:
                self._waiting.discard(passing)

    def clear(self) -> None:
        """Hold up whoever comes from now on."""
        with self._lock:
            self._is_set = False

    def set(self) -> None:
        """Let everybody through."""
        with self._lock:
            self._is_set = True
            waiting, self._waiting = self._waiting, set()
        for passing in waiting:
            with contextlib.suppress(RuntimeError):  # its event loop has been closed
                passing.get_loop().call_soon_threadsafe(_pass, passing)


def _pass(passing: asyncio.Future[None]) -> None:
    if not passing.done():
        passing.set_result(None)
