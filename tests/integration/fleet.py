"""A fleet of real processes that share one cache: started, asked, killed, and what each was answered is judged.

All of them are on this machine, so its monotonic clock is the common one; their wall clocks are wrong by minutes. The
source is a counter in the test's own process: it writes down who read it when, and the facts say the moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from server import wait_until

PATIENCE_SECONDS = 60
PROGRAM = Path(__file__).with_name("fleet_process.py")
SKEWS = [0.0] * 6 + [-300.0 + 600 / 13 * number for number in range(14)]
"""How wrong the clock of each process is, in seconds: six are right, the others are apart by minutes."""


class Read(NamedTuple):
    """One reading of the counter: by which process, from when to when; `None`: it was gone before the end."""

    pid: int
    began: float
    ended: float | None


class Counter:
    """What the fleet reads.

    Attributes:
        seconds: How long the readings that begin now take.
        reads: All of them, in the order of their ends.
        under_way: By process, when its reading began.
    """

    def __init__(self) -> None:
        self.seconds = 0.07
        self.reads: list[Read] = []
        self.under_way: dict[int, float] = {}
        counter = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                began = time.monotonic()
                pid = int(self.rfile.readline())
                counter.under_way[pid] = began
                ends_at, alive = began + counter.seconds, True
                while alive and (left := ends_at - time.monotonic()) > 0:
                    self.connection.settimeout(left)
                    with contextlib.suppress(TimeoutError):
                        alive = bool(self.connection.recv(1))  # who is killed ends its connection
                if alive:
                    with contextlib.suppress(OSError):
                        self.wfile.write(b"%d\n" % (began * 1e6))
                del counter.under_way[pid]
                counter.reads.append(Read(pid, began, time.monotonic() if alive else None))

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def begun_between(self, since: float, until: float) -> list[Read]:
        """Return every reading that began in that time and is over."""
        return [read for read in self.reads if since <= read.began < until]

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Fleet:
    """Running processes with the settings in *variables*.

    Attributes:
        counter: What they read.
        since: From when on all of them are asked.
    """

    def __init__(self, folder: Path, counter: Counter, **variables: str) -> None:
        self.counter = counter
        self._folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        tests = str(PROGRAM.parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, environment.get("PYTHONPATH", "")]))
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), str(counter.port), *map(str, SKEWS)],
            env={**environment, **variables},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._killed: set[int] = set()
        self._callers: list[threading.Thread] = []
        self._ended = threading.Event()
        self._heard: list[dict[str, Any]] = []
        wait_until(self._all_answer, "every process has answered")
        for where in folder.glob("*.port"):
            port, pid, skew = where.read_text().split()
            caller = threading.Thread(target=self._call, args=(int(port), int(pid), float(skew)))
            caller.start()
            self._callers.append(caller)
        self.since = time.monotonic()

    @property
    def records(self) -> list[dict[str, Any]]:
        """What everybody was answered so far, in Python and over HTTP."""
        lines = [line for log in self._folder.glob("*.log") for line in log.read_text().splitlines(keepends=True)]
        return [*(json.loads(line) for line in lines if line.endswith("\n")), *self._heard]

    @property
    def log(self) -> str:
        """What the processes have said."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def troubles(self) -> int:
        """How often a process has found the cache in trouble: this machine stood still for a while, or it is true."""
        return len(re.findall(r"^cache \w+: (?!well)", self.log, re.MULTILINE))

    def run(self, seconds: float) -> None:
        """Let them be asked for *seconds*."""
        ends_at = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > ends_at, "time passes", seconds + PATIENCE_SECONDS)

    def kill_the_reader(self, after_seconds: float) -> float:
        """Kill a process so long after it has begun to read; return how long it took until another one began."""

        def found() -> int | None:
            return next(iter(self.counter.under_way), None)

        def caught() -> int | None:
            wait_until(lambda: found() is None, "nobody reads")
            pid = wait_until(found, "somebody reads")
            began = self.counter.under_way[pid]
            wait_until(lambda: time.monotonic() >= began + after_seconds, "it reads")
            return pid if self.counter.under_way.get(pid) == began else None

        pid = wait_until(caught, "somebody is killed before it has read")
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        died_at = time.monotonic()
        wait_until(lambda: pid not in self.counter.under_way, "its connection ends")
        heir = wait_until(found, "another process reads")
        return self.counter.under_way[heir] - died_at

    def end(self) -> None:
        """End all of them."""
        self._ended.set()
        for caller in self._callers:
            caller.join()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()

    def _all_answer(self) -> bool:
        assert self._process.poll() is None, self.log
        logs = [self._folder / f"{number}.log" for number in range(len(SKEWS))]
        return all(log.exists() and log.stat().st_size for log in logs)

    def _call(self, port: int, pid: int, skew_seconds: float) -> None:
        """Ask over HTTP as a monitor does, ten times a second."""
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not self._ended.wait(0.1):
                asked_at = time.monotonic()
                try:
                    status = client.get(f"http://127.0.0.1:{port}/tasker/health/status").json()
                except httpx.TransportError:
                    if pid in self._killed:
                        return
                    raise
                self._heard.append(
                    {
                        "pid": pid,
                        "asked_at": asked_at,
                        "answered_at": time.monotonic(),
                        "now": time.time() + skew_seconds,
                        "read_at": (status["system_health"]["completed_tasks"] or 0) / 1e6,
                        "timestamp": status["timestamp"],
                        "reasons": status["reasons"],
                        **status["cache_info"],
                    }
                )


@contextlib.contextmanager
def running(**variables: str) -> Iterator[Fleet]:
    """Yield a fleet of twenty; nothing of it is left at the end, and nothing went wrong in it."""
    with tempfile.TemporaryDirectory(prefix="tasker-health-fleet-") as folder:
        counter = Counter()
        try:
            fleet = Fleet(Path(folder), counter, **variables)
            try:
                yield fleet
            finally:
                said = fleet.log
                fleet.end()
            assert "Traceback" not in said, said
        finally:
            counter.close()


class Judgement:
    """What is true of the answers between two moments.

    Attributes:
        reads: How many readings were begun.
        ages: The true age of the facts of each answer when it was made at the latest, in seconds.
        waits: How long each asker waited.
        late: How late the event loops were: what the machine has to answer for.
        wrong: Answers whose `cache_info` or timestamp is not true, with why.
        faults: Answers that say that something cannot be read.

    Args:
        fleet: Who was asked.
        since: From when on.
        until: Until when.
        time_to_live: Of the facts, in seconds.
        coarse: By how much ages may be above the truth.
    """

    def __init__(self, fleet: Fleet, since: float, until: float, *, time_to_live: float, coarse: float = 0.0) -> None:
        self._coarse, self._time_to_live = coarse, time_to_live
        records = [record for record in fleet.records if since <= record["answered_at"] < until]
        reads = fleet.counter.begun_between(since, until)
        self.seconds = until - since
        self.reads = len(reads)
        self.read_seconds = max((read.ended - read.began for read in reads if read.ended), default=0.0)
        self.answers = len(records)
        # When an answer is made lies between the question and the answer: the age is at least that of the former.
        self.ages = [record["asked_at"] - record["read_at"] for record in records]
        self.waits = [record["answered_at"] - record["asked_at"] for record in records]
        self.late = [record["late"] for record in records if "late" in record]
        # What is told is on its way while its age stands still, for as long as a loop is away.
        self._slack = 0.05 + max(self.late)
        known = {(read.pid, round(read.began * 1e6)) for read in fleet.counter.reads}
        self.wrong = [(why, record) for record in records for why in self._wrong(record, known)]
        self.faults = [record for record in records if record["reasons"]]

    def _wrong(self, record: dict[str, Any], known: set[tuple[int, int]]) -> Iterator[str]:
        least = record["asked_at"] - record["read_at"] - self._slack
        most = record["answered_at"] - record["read_at"] + self._slack + self._coarse
        if not least - 1 <= record["age_seconds"] <= most:
            yield "age"
        if record.get("stale") and (not record["cached"] or most < self._time_to_live):
            yield "stale, but it is not"
        if record["cached"] and not record.get("stale") and least > self._time_to_live:
            yield "not stale, but it is"
        own = any((record["pid"], round(record["read_at"] * 1e6) + rounding) in known for rounding in (-1, 0, 1))
        if not record["cached"] and not (own and record["answered_at"] - record["asked_at"] > 0.01):
            yield "not cached, but it was"
        stamp, expires = (_seconds(record[name]) for name in ("timestamp", "cache_expires_at"))
        if expires - stamp != self._time_to_live:
            yield "expires"
        if not record["now"] - most - 1 <= stamp <= record["now"] - least:
            yield "timestamp"

    def __str__(self) -> str:
        """Return the figures for people."""
        return (
            f"{self.reads} reads in {self.seconds:.1f} s (longest {self.read_seconds:.3f} s), {self.answers} answers, "
            f"{len(self.wrong)} wrong, {len(self.faults)} with a fault; "
            f"age {_spread(self.ages)}; wait {_spread(self.waits)}; loops late {_spread(self.late)}"
        )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values}"
    hundredths = statistics.quantiles(values, n=1000)
    return f"p50 {hundredths[499]:.3f}, p99 {hundredths[989]:.3f}, p99.9 {hundredths[998]:.3f}, most {max(values):.3f}"
