"""A process that does nothing but read the source `tasker`, as a health server does beside its probes.

`python -m bench.tasker_reader [CHECKPOINT]` reads the database of the variable `BENCH_DATABASE_URL` until it has facts,
and prints what that took as one line of JSON. Then each line that it is sent is a number of seconds: it catches up,
answers `{}`, and reads every so often until the next line, an empty one, which it answers with what its readings took.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasker_health.database import Database
from tasker_health.errors import TaskerHealthError

FIRST_SECONDS = 600
"""Longest wait for the first facts, over a history of any size."""

ROOT = Path(__file__).parents[1]


def source(url: str, *, checkpoint_file: str | None = None) -> Any:
    """Return a source as the settings would make it."""
    from tasker_health.sources.tasker import TaskerSource, Wanted

    database, counting = Database(url), Database(url, statement_timeout_seconds=FIRST_SECONDS)
    file = Path(checkpoint_file) if checkpoint_file else None
    return TaskerSource("shop", database, counting, Wanted(), checkpoint_file=file)


async def first_facts(read: Any, seconds: float = FIRST_SECONDS) -> Any:
    """Return what *read*, a function of a deadline, answers as soon as there are facts.

    Raises:
        TaskerHealthError: There are none within *seconds*.
    """
    ends_at = time.monotonic() + seconds
    while True:
        try:
            return await read(ends_at - time.monotonic())
        except TaskerHealthError:
            if time.monotonic() > ends_at:
                raise
            await asyncio.sleep(0.05)


class Reader:
    """The process, seen from the one that started it.

    Attributes:
        first: `seconds` until the first facts, and `mebibytes` that it grew by.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.first = self._heard()

    def begin(self, every_seconds: float) -> None:
        """Catch up, and from now on read every so often."""
        self._said(str(every_seconds))

    def pause(self) -> list[float]:
        """Read no more, and return how many milliseconds each reading took."""
        return list(self._said("")["milliseconds"])

    def _said(self, line: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise AssertionError("the reader was started without its input")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the reader ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def reading(url: str, *, checkpoint_file: str | None = None) -> Iterator[Reader]:
    """Run a reader of the database at *url* for as long as the block takes; it closes its source at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.tasker_reader", *([checkpoint_file] if checkpoint_file else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "BENCH_DATABASE_URL": url},
    )
    try:
        yield Reader(process)
        if process.stdin is not None:
            process.stdin.close()
        process.wait(30)
    finally:
        process.kill()
        process.wait()


async def _read(url: str, checkpoint_file: str | None) -> None:
    read = source(url, checkpoint_file=checkpoint_file)
    # What any reader of PostgreSQL needs is no part of the tally: the driver is loaded, and has asked something.
    other = Database(url)
    await other.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar(), deadline_seconds=10)
    await other.close()
    before = _resident_mebibytes()
    began = time.perf_counter()
    await first_facts(read.read)
    seconds = time.perf_counter() - began
    for _ in range(20):
        await read.read(10)
    _say({"seconds": seconds, "mebibytes": _resident_mebibytes() - before})
    commands = _Commands()
    while every := await commands.next():
        await read.read(60)
        _say({})
        _say({"milliseconds": await _poll(read, float(every), commands)})
    await read.close()


async def _poll(read: Any, every_seconds: float, commands: _Commands) -> list[float]:
    """Read every so often until a line comes."""
    milliseconds = []
    while not await commands.came_within(every_seconds):
        began = time.perf_counter()
        await read.read(60)
        milliseconds.append((time.perf_counter() - began) * 1000)
    await commands.next()
    return milliseconds


class _Commands:
    """The lines of standard input, without their ends; an empty one after the last."""

    def __init__(self) -> None:
        self._next = asyncio.ensure_future(self._read())

    async def next(self) -> str:
        line = await self._next
        self._next = asyncio.ensure_future(self._read())
        return line

    async def came_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait({self._next}, timeout=seconds)
        return bool(done)

    async def _read(self) -> str:
        return (await asyncio.to_thread(sys.stdin.readline)).strip()


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _resident_mebibytes() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


if __name__ == "__main__":
    asyncio.run(_read(os.environ["BENCH_DATABASE_URL"], sys.argv[1] if len(sys.argv) > 1 else None))
