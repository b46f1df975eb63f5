"""The live line of the demo: the shop's figures on the console, about once a second.

It has a reader of its own, which uses no cache: the endpoints answer as they do in production, from facts up to
`health.cache_duration_seconds` old, and would stand still for as long on the console. It runs in a thread of its
own, because a console can block (Ctrl-S, a full pipe), and nothing that a probe needs may wait for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tasker_health.health import Health
from tasker_health.model import StatusReport, SystemStatus
from tasker_health.settings import Settings, SourceSettings

_PERIOD_SECONDS = 1.0
_PLAIN_PERIOD_SECONDS = 5.0
_STARTING_PERIOD_SECONDS = 0.1

_LARGEST_SHARE = 0.1
"""Of the time, this much is spent reading at most; a history of millions makes the line slower, not the shop."""

_COLOURS = {SystemStatus.HEALTHY: "green", SystemStatus.DEGRADED: "yellow", SystemStatus.UNHEALTHY: "red"}

_STARTING = "starting DBOS ..."


class FiguresLine:
    """Shows the figures until it is stopped: as one live line on a terminal, as plain lines anywhere else.

    Args:
        settings: Those of the demo.
        source: The source to read.
    """

    def __init__(self, settings: Settings, source: SourceSettings) -> None:
        health = settings.health.model_copy(update={"cache_duration_seconds": 0})
        self._health = Health(Settings(health=health, sources={"console": source}))
        self._console = Console()
        self._open = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="figures", daemon=True)

    def start(self) -> None:
        """Start showing."""
        self._thread.start()

    def opened(self) -> None:
        """Start reading: before DBOS is launched there is nothing to read."""
        self._open.set()

    def stop(self) -> None:
        """Stop showing; a console that blocks is left to itself."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(2)

    def _run(self) -> None:
        try:
            asyncio.run(self._on_terminal() if self._console.is_terminal else self._in_lines())
        except OSError:
            forget_console()

    async def _on_terminal(self) -> None:
        with (
            Live(
                Text(_STARTING), console=self._console, auto_refresh=False, redirect_stderr=sys.stderr.isatty()
            ) as live,
            _log_above(),
        ):
            live.refresh()
            while not self._stop.is_set():
                began = time.monotonic()
                if self._open.is_set():
                    parts = parts_of(await self._health.monitor.status())
                    live.update(Columns(parts, padding=(0, 2)), refresh=True)
                await self._pause(began, _PERIOD_SECONDS)
        await self._health.stop()

    async def _in_lines(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            if self._open.is_set():
                parts = parts_of(await self._health.monitor.status())
                sys.stdout.write("  ".join(part.plain for part in parts) + "\n")
                sys.stdout.flush()
            await self._pause(began, _PLAIN_PERIOD_SECONDS)
        await self._health.stop()

    async def _pause(self, began: float, seconds: float) -> None:
        """Wait until *seconds* after *began*, or longer after a long reading; `stop` ends it."""
        if self._open.is_set():
            took = time.monotonic() - began
            seconds = max(seconds - took, took / _LARGEST_SHARE)
        else:
            seconds = _STARTING_PERIOD_SECONDS
        await asyncio.to_thread(self._stop.wait, seconds)


def parts_of(report: StatusReport) -> list[Text]:
    """Return the figures of *report*, each with its name and its colour."""
    health = report.system_health
    verdict = Text(
        ": ".join(filter(None, [report.status, ", ".join(report.reasons)])), f"bold {_COLOURS[report.status]}"
    )
    if health.total_tasks is None:
        return [verdict]
    return [
        Text(f"orders {health.total_tasks}", "bold"),
        Text(f"queued {health.pending_tasks}", "cyan"),
        Text(f"running {health.running_tasks}", "blue"),
        Text(f"retrying {health.retry_queue_size} ({health.in_backoff} in backoff)", "magenta"),
        Text(f"completed {health.completed_tasks}", "green"),
        Text(f"failed {health.failed_tasks}", "red" if health.failed_tasks else "dim"),
        Text(f"cancelled {health.cancelled_tasks}", "dim"),
        verdict,
    ]


def forget_console() -> None:
    """Let what is written to the console from now on go nowhere: whoever read it has gone, which ends no demo."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _log_above() -> Iterator[None]:
    """Let log lines go where `sys.stderr` goes now: above the live line, if both are on one terminal."""
    moved = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
    ]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(sys.__stderr__)
