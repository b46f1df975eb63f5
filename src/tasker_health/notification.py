"""What a service manager (systemd) is told of this process: that it is ready, alive, in trouble, stopping.

The event loop that serves says so itself. What is said is a heartbeat, as the guard's is: it ends when the loop does,
and it comes from a process of the unit that systemd knows, so that `NotifyAccess=main` is enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable

from tasker_health.model import Readiness, Startup
from tasker_health.systemd import ServiceManager

FEED_SECONDS = 5.0
"""Longest from one `WATCHDOG=1` to the next; at most a quarter of what systemd waits, so that three may be lost."""

STATUS_SECONDS = 5.0
"""From one look at readiness to the next, for the line that `systemctl status` shows."""

STOP_MARGIN_SECONDS = 10
"""How much longer than its drain a process may take to stop, should the unit allow it less."""

_LOOK_SECONDS = 0.1
_RETRY_SECONDS = 1.0


class Notification:
    """Tells the service manager that the environment names; where it names none, it does nothing.

    Args:
        drain_seconds: How long requests are still answered after `drain`.
    """

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._manager: ServiceManager | None = None
        self._startup: Callable[[], Startup] | None = None
        self._ready: Callable[[], Awaitable[Readiness]] | None = None
        self._stands: Callable[[], bool] = lambda: True
        self._timer: asyncio.TimerHandle | None = None
        self._status: asyncio.Task[None] | None = None
        self._told = ""
        self._is_held = self._is_ready = self._is_refused = self._is_stopping = False
        self._fed_at = 0.0

    def start(
        self,
        startup: Callable[[], Startup],
        ready: Callable[[], Awaitable[Readiness]],
        stands: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin on the running event loop. Who is told is taken out of the environment.

        Args:
            startup: Whether it has finished starting.
            ready: Whether it should get traffic.
            stands: Whether the watchdog may be fed at all.
        """
        self._manager = self._manager or ServiceManager.taken_from(os.environ)
        if self._manager is None or self._timer is not None:
            return
        self._startup, self._ready, self._stands = startup, ready, stands
        self._is_ready = self._is_refused = self._is_stopping = False
        self._fed_at = -FEED_SECONDS
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_LOOK_SECONDS, self._look)
        self._status = loop.create_task(self._tell_status_for_ever())

    def hold(self, held: bool) -> None:
        """Be not ready while the application itself still starts."""
        self._is_held = held

    def drain(self) -> None:
        """Say that this process is about to stop, and how long that may take."""
        self._stop("draining", self._drain_seconds)

    async def stop(self) -> None:
        """Say that this process stops, and say no more."""
        self._stop("stopping", 0)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        task, self._status = self._status, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=1)

    def forget(self) -> None:
        """Say nothing in a process that was forked: what is to be said is its parent's to say."""
        self._manager = self._timer = self._status = None

    def _stop(self, why: str, seconds: float) -> None:
        # A worker that ends is no service that ends: systemd would end all the others (STOPPING is as if it had).
        if self._manager is None or not self._manager.is_main or self._is_stopping:
            return
        self._is_stopping = True
        microseconds = round((seconds + STOP_MARGIN_SECONDS) * 1e6)
        self._manager.tell(STOPPING="1", STATUS=why, EXTEND_TIMEOUT_USEC=str(microseconds))

    def _look(self) -> None:
        manager = self._manager
        if manager is None:
            return
        # Before anything that could fail for want of memory: it must not be the last one.
        self._timer = asyncio.get_running_loop().call_later(self._period, self._look)
        watchdog, now = manager.watchdog_seconds, time.monotonic()
        if watchdog is not None and now - self._fed_at >= self._feed_seconds(watchdog) * 0.9 and self._stands():
            self._fed_at = now
            manager.tell(WATCHDOG="1")
        if not self._is_ready and not self._is_stopping and self._has_started():
            self._is_ready = manager.tell(READY="1")
            self._is_refused = not self._is_ready

    @property
    def _period(self) -> float:
        watchdog = None if self._manager is None else self._manager.watchdog_seconds
        feed = FEED_SECONDS if watchdog is None else self._feed_seconds(watchdog)
        if self._is_ready:
            return feed
        return min(_RETRY_SECONDS if self._is_refused else _LOOK_SECONDS, feed)

    @staticmethod
    def _feed_seconds(watchdog: float) -> float:
        return min(FEED_SECONDS, watchdog / 4)

    def _has_started(self) -> bool:
        return not self._is_held and self._startup is not None and self._startup().started and _listens()

    async def _tell_status_for_ever(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # what cannot be told now is told next time
                await self._tell_status()
            await asyncio.sleep(STATUS_SECONDS if self._is_ready else _LOOK_SECONDS)

    async def _tell_status(self) -> None:
        manager = self._manager
        if manager is None or not manager.is_main or self._startup is None or self._ready is None:
            return
        startup = self._startup()
        if not startup.started:
            text = f"starting: {', '.join(startup.waiting_for or ())}"
        elif not self._is_ready:
            text = "starting"
        else:
            text = said_of(await self._ready())
        if not self._is_stopping and text != self._told and manager.tell(STATUS=text):
            self._told = text


def said_of(report: Readiness) -> str:
    """Return *report* as a line: names of checks, which hold no secret, and nothing else."""
    if not report.ready:
        return f"not ready: {', '.join(report.failed_checks or ())}"
    return f"ready; degraded: {', '.join(report.degraded_checks)}" if report.degraded_checks else "ready"


def _listens() -> bool:
    """Return whether this process has a socket that takes connections; true where that cannot be seen.

    A server such as uvicorn opens its port only after the application has started.
    """
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 -- names are all we want
    except OSError:
        return True
    return any(map(_takes_connections, descriptors))


def _takes_connections(descriptor: int) -> bool:
    # Another thread may close it meanwhile, so a copy is asked.
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                return bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False
