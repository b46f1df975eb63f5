"""Processes of a fleet: each asks its own `Health` again and again, and writes down what it was answered.

Started as `python fleet_process.py FOLDER COUNTER_PORT SKEW...`, with the settings in its environment: one process for
each skew, forked from this one so that twenty of them start in the time of one. They end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import uvicorn

from fakes import facts_of
from tasker_health.health import Health
from tasker_health.loading import load_settings

PAUSE_SECONDS = 0.05
SERVING = 3
"""How many of the processes answer over HTTP too."""


class SkewedClock:
    """A clock that is wrong by *skew_seconds*."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, skew_seconds: float) -> None:
        self._skew_seconds = skew_seconds

    def now(self) -> float:
        """Return the wall-clock time, wrong as it is."""
        return time.time() + self._skew_seconds


class CountedSource:
    """A source whose every reading is counted by a server that all processes ask."""

    name = "shop"

    def __init__(self, port: int) -> None:
        self._port = port

    async def read(self, deadline_seconds: float):
        """Return facts whose `completed` is the moment of the reading, in microseconds of the monotonic clock."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(b"%d\n" % os.getpid())
            return facts_of(completed=int(await reader.readline()))
        finally:
            writer.close()

    async def close(self) -> None:
        """Keep nothing."""


def record(asked_at: float, status: dict, skew_seconds: float) -> dict:
    """Return what is to be judged of *status*, answered now to who asked at *asked_at*."""
    now = time.monotonic()
    return {
        "pid": os.getpid(),
        "asked_at": asked_at,
        "answered_at": now,
        "now": time.time() + skew_seconds,
        "read_at": (status["system_health"]["completed_tasks"] or 0) / 1e6,
        "timestamp": status["timestamp"],
        "reasons": status["reasons"],
        **status["cache_info"],
    }


async def ask(health: Health, skew_seconds: float, log) -> None:
    """Ask until the process that this one was forked from is gone."""
    import msgspec

    parent = os.getppid()
    while os.getppid() == parent:
        asked_at = time.monotonic()
        report = await health.status()
        note = record(asked_at, msgspec.to_builtins(report, str_keys=True), skew_seconds)
        wanted = time.monotonic() + PAUSE_SECONDS
        await asyncio.sleep(PAUSE_SECONDS)
        log.write(json.dumps({**note, "late": time.monotonic() - wanted}) + "\n")


async def play(number: int, folder: Path, port: int, skew_seconds: float) -> None:
    """Be the process *number*."""
    health = Health(load_settings(), clock=SkewedClock(skew_seconds))
    health.add_source(CountedSource(port))
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with (folder / f"{number}.log").open("w", buffering=1) as log:
        asking = asyncio.ensure_future(ask(health, skew_seconds, log))
        with contextlib.suppress(asyncio.CancelledError):
            if number < SERVING:
                server = uvicorn.Server(uvicorn.Config(health.asgi(), port=0, log_level="warning"))
                server.install_signal_handlers = lambda: None
                server.capture_signals = contextlib.nullcontext
                serving = asyncio.ensure_future(server.serve())
                while not server.started:
                    await asyncio.sleep(0.01)
                (where,) = server.servers[0].sockets
                (folder / f"{number}.port").write_text(f"{where.getsockname()[1]} {os.getpid()} {skew_seconds}")
                try:
                    await asking
                finally:
                    server.should_exit = True
                    await serving
            else:
                await asking
        asking.cancel()
        await health.stop()


def main(folder: str, port: str, *skews: str) -> None:
    """Fork the processes, and wait for the signal to end them."""
    children = []
    for number, skew in enumerate(skews):
        child = os.fork()
        if not child:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            asyncio.run(play(number, Path(folder), int(port), float(skew)))
            os._exit(0)
        children.append(child)
    signal.sigwait({signal.SIGTERM})
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(*sys.argv[1:])
