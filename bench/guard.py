"""What the guard costs: processor time of an answer beside nginx, memory, start, and the application's heartbeat."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tasker_health
from bench import nginx
from bench.load import CONNECTIONS, connected
from bench.machine import CLIENT_CORE, SERVER_CORE, on_core, pin
from bench.serving import LIVE, READY, Measured
from bench.subject import PATIENCE_SECONDS, SubjectError, ask
from bench.table import Goal, Table
from tasker_health.guard.heartbeat import Heartbeat
from tasker_health.guard.memory import Memory, Slot
from tasker_health.settings import Settings

RATIO_GOAL, MEMORY_GOAL_MIB, START_GOAL_MS, HEARTBEAT_GOAL_PERCENT = 1.3, 3, 100, 0.1
BURSTS, STARTS, HEARTBEAT_SECONDS = 10, 15, 5

_INTERPRETER = [sys.executable, "-S", "-E", "-s", "-P", "-c"]
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tasker_health.guard.process import main; main()"
_BARE = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
_SOURCE = str(Path(tasker_health.__file__).parents[1])
_READY = (
    b'{"ready":true,"checks":{"database":{"status":"ok","response_time_ms":12}},"timestamp":"2025-06-18T15:30:00Z"}'
)


class GuardSubject:
    """A guard whose application is this process, with a heartbeat and a report."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def cpu_seconds(self) -> float:
        """User and system time that it has used."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


def measure(rounds: int | None) -> Table:
    """Return what the guard costs, over *rounds* of each row."""
    rounds = rounds or 15
    starts = [_start_ms() for _ in range(STARTS)]
    heartbeat = _heartbeat_percent()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        guard = stack.enter_context(_guard())
        body = ask(guard.port, LIVE).partition(b"\r\n\r\n")[2].decode()
        yardstick = stack.enter_context(nginx.running(Path(folder), body))
        rows = list(_rows(stack, guard, yardstick))
        _run(rows, rounds)
        memory, bare = _private_kib(guard.process.pid), _bare_kib()
    more_mib = (memory - bare) / 1024
    live = rows[0]
    return Table(
        "The guard beside nginx, a bare interpreter and an idle event loop",
        ["what", "figure", "times nginx's file", "requests/s"],
        rows=[
            *(_row(each, live) for each in rows),
            *(
                (name, figure, "", "")
                for name, figure in (
                    (
                        f"private memory after that, above {bare / 1024:.1f} MiB of a bare interpreter",
                        f"{more_mib:.2f} MiB",
                    ),
                    ("from spawn to the first answer, median", f"{statistics.median(starts):.0f} ms"),
                    ("from spawn to the first answer, slowest", f"{max(starts):.0f} ms"),
                    ("heartbeat of an event loop, of one core", f"{heartbeat:.3f} %"),
                )
            ),
        ],
        goals=[
            Goal(
                "an answer of /live, times nginx answering a constant file",
                live.ratio if live.twin else None,
                RATIO_GOAL,
            ),
            Goal("private memory above a bare interpreter", more_mib, MEMORY_GOAL_MIB, " MiB"),
            Goal("from spawn to the first answer, median", statistics.median(starts), START_GOAL_MS, " ms"),
            Goal("heartbeat at its default rate, of one core", heartbeat, HEARTBEAT_GOAL_PERCENT, " %"),
        ],
        notes=[
            f"Processor time: user and system; the least of {rounds} interleaved rounds of {BURSTS} bursts.",
            f"Load: {CONNECTIONS} connections kept alive, one client in Python on the other core.",
            f"{nginx.version()}: one process, no log, the file kept open; `return` is its fastest answer of all.",
            "Memory: private pages, clean and dirty; the bare interpreter is `python -S -E -s -P`.",
            f"Start: {STARTS} starts. Heartbeat: {HEARTBEAT_SECONDS} s of asyncio with it, less the same without.",
        ],
    )


def _rows(stack: ExitStack, guard: GuardSubject, yardstick: nginx.Nginx | None) -> Iterator[Measured]:
    file = None
    others = []
    if yardstick is not None:
        file = _measured(stack, "nginx, a constant file", yardstick, nginx.FILE)
        others = [file, _measured(stack, "nginx, `return`", yardstick, nginx.WORDS, file)]
    yield _measured(stack, "the guard, /live", guard, LIVE, file)
    yield _measured(stack, "the guard, /ready", guard, READY, file)
    yield from others


def _measured(
    stack: ExitStack, name: str, subject: GuardSubject | nginx.Nginx, path: str, twin: Measured | None = None
) -> Measured:
    return Measured(name, subject, stack.enter_context(connected(subject.port, path)), twin)


def _run(rows: Sequence[Measured], rounds: int) -> None:
    with on_core(CLIENT_CORE):
        for _ in range(rounds):
            for number in range(BURSTS):
                for measured in rows[:: -1 if number % 2 else 1]:
                    measured.burst()
            for measured in rows:
                measured.end_round()


def _row(measured: Measured, live: Measured) -> Sequence[str]:
    ratio = f"{measured.ratio:.3f}" if live.twin else ""
    return measured.name, f"{min(measured.cpu_us):.1f} µs", ratio, f"{max(measured.rates):,.0f}"


@contextmanager
def _guard() -> Iterator[GuardSubject]:
    """Run a guard on the server's core."""
    memory = Memory.create()
    slot = memory.take()
    slot.publish({"ready": (200, _READY), "startup": (200, b'{"started":true}')})
    ends = threading.Event()
    beats = threading.Thread(target=_beat, args=(slot, ends))
    beats.start()
    process, port = _spawn(memory)
    try:
        pin(process.pid, SERVER_CORE)
        _first_answer(port, process)
        yield GuardSubject(process, port)
    finally:
        process.kill()
        process.wait()
        ends.set()
        beats.join()
        memory.close()


def _beat(slot: Slot, ends: threading.Event) -> None:
    while not ends.wait(0.25):
        slot.beat()


def _spawn(memory: Memory) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        words = {
            "memory": memory.descriptor,
            "listen": listener.fileno(),
            "owner": os.getpid(),
            "prefix": "/tasker",
            "service": "tasker",
            "stall_seconds": 30,
            "policy": "all",
            "report_max_age_seconds": 86400,
        }
        process = subprocess.Popen(
            [*_INTERPRETER, _START, _SOURCE, *(f"{name}={value}" for name, value in words.items())],
            pass_fds=[memory.descriptor, listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
        return process, int(listener.getsockname()[1])


def _first_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    # The port is open before the process runs, so the question waits for it.
    if not ask(port, LIVE).startswith(b"HTTP/1.1 200"):
        raise SubjectError(f"the guard did not come up; it ended with {process.poll()}")


def _start_ms() -> float:
    memory = Memory.create()
    began = time.perf_counter()
    process, port = _spawn(memory)
    try:
        _first_answer(port, process)
        return (time.perf_counter() - began) * 1000
    finally:
        process.kill()
        process.wait()
        memory.close()


def _private_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"Private_\w+: +(\d+) kB", rollup))


def _bare_kib() -> int:
    with subprocess.Popen([*_INTERPRETER, _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        try:
            if bare.stdout is None or bare.stdout.read(1) != b"x":
                raise SubjectError("a bare interpreter did not come up")
            return _private_kib(bare.pid)
        finally:
            bare.communicate(timeout=PATIENCE_SECONDS)


def _heartbeat_percent() -> float:
    """Return how much of one core a heartbeat costs, less what an idle event loop costs."""
    memory = Memory.create()
    try:
        slot = memory.take()
        idle = asyncio.run(_idle_percent(None))
        return asyncio.run(_idle_percent(slot)) - idle
    finally:
        memory.close()


async def _idle_percent(slot: Slot | None) -> float:
    health = Settings().health
    heartbeat = Heartbeat(health.heartbeat_seconds, health.loop_lag_warning_seconds)
    if slot is not None:
        heartbeat.start(lambda: slot)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(HEARTBEAT_SECONDS)
    percent = (time.process_time() - cpu) / (time.perf_counter() - began) * 100
    heartbeat.stop()
    return percent
