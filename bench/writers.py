"""What a reader of the source `tasker` costs those who write: pgbench with 8 writers, with and without it."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import tasker_work
from bench.bulk_server import BulkServer, tasker
from bench.table import Goal, Table
from bench.tasker_reader import Reader, reading

WRITERS, TASKS = 8, 1_000_000
ROUNDS, SECONDS = 5, 16  # long enough for a reading every 15 s
EVERY_SECONDS = (15, 0.1)
NOISE_PERCENT = 5
"""Where two rounds without a reader differ by more, the machine is too busy for a verdict."""


@dataclass
class Mode:
    """One kind of rounds.

    Attributes:
        name: What the row is called.
        every_seconds: How often is read; `None`: nobody reads.
        reader: Who does.
        rates: Transitions a second, by round.
        milliseconds: What each reading took.
    """

    name: str
    every_seconds: float | None = None
    reader: Reader | None = None
    rates: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def round(self, server: BulkServer, url: str, script: Path) -> None:
        """Write for a while."""
        if self.reader is not None and self.every_seconds is not None:
            self.reader.begin(self.every_seconds)
        self.rates.append(_transitions_a_second(server, url, script))
        if self.reader is not None:
            self.milliseconds += self.reader.pause()

    def ratios(self, other: Mode) -> list[float]:
        """Return how this one's rate compares with the *other*'s, round by round."""
        return [own / others for own, others in zip(self.rates, other.rates, strict=True)]

    def cells(self, nobody: Mode) -> tuple[str, ...]:
        """Return the row of the table."""
        ratios = self.ratios(nobody)
        return (
            *(self.name, f"{statistics.median(self.rates):,.0f}", f"{min(self.rates):,.0f} to {max(self.rates):,.0f}"),
            *(f"{_of_medians(self, nobody):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}"),
            str(len(self.milliseconds) or ""),
            f"{statistics.median(self.milliseconds):.1f}" if self.milliseconds else "",
        )


def measure(rounds: int | None, sizes: Sequence[int] = (TASKS,)) -> Table:
    """Return how fast 8 writers are, over so many *rounds*, at the largest of *sizes* up to a million tasks."""
    rounds, tasks = rounds or ROUNDS, max((size for size in sizes if size <= TASKS), default=TASKS)
    modes = [Mode("nobody reads"), Mode("nobody reads, again")]
    modes += [Mode(f"read every {seconds:g} s", seconds) for seconds in EVERY_SECONDS]
    with tasker(tasks) as (server, url, _), tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        script = Path(folder) / "transitions.sql"
        script.write_text(tasker_work.script())
        for mode in modes:
            if mode.every_seconds is not None:
                mode.reader = stack.enter_context(reading(url))
        _transitions_a_second(server, url, script, seconds=5)  # it warms up
        for number in range(rounds):
            for mode in modes[:: -1 if number % 2 else 1]:
                mode.round(server, url, script)
                print(f"round {number}: {mode.name}: {mode.rates[-1]:,.0f}/s", file=sys.stderr, flush=True)
    return _table(modes, rounds, tasks)


def _table(modes: list[Mode], rounds: int, tasks: int) -> Table:
    nobody, again, *read = modes
    noise = max(abs(1 - ratio) for ratio in again.ratios(nobody)) * 100
    is_quiet = noise <= NOISE_PERCENT
    return Table(
        f"The source tasker: what it costs {WRITERS} writers",
        ["who reads", "transitions/s", "of the rounds", "ratio of medians", "of the rounds", "readings", "median ms"],
        rows=[mode.cells(nobody) for mode in modes],
        goals=[
            Goal(f"{mode.name}: writers slower by; the noise is the limit", loss if is_quiet else None, limit, " %")
            for mode in read
            for loss, limit in [((1 - _of_medians(mode, nobody)) * 100, round(noise, 1))]
        ],
        notes=[
            f"pgbench, {WRITERS} clients, new tasks of 10 transitions, each a transaction; {tasks:,} tasks beforehand.",
            f"{rounds} rounds of {SECONDS} s of each, in turn and in the opposite order; the reader is a process.",
            f"Noise: the largest difference of two rounds in which nobody reads; above {NOISE_PERCENT} %, no verdict.",
            "Writers, their server and the reader share the machine's cores, so what the reader computes counts too.",
        ],
    )


def _of_medians(mode: Mode, nobody: Mode) -> float:
    return statistics.median(mode.rates) / statistics.median(nobody.rates)


def _transitions_a_second(server: BulkServer, url: str, script: Path, *, seconds: int | None = None) -> float:
    seconds = seconds or SECONDS
    command = [server.program("pgbench"), "-n", "-M", "prepared", "-c", str(WRITERS), "-T", str(seconds)]
    done = subprocess.run(
        [*command, "-f", str(script), url], capture_output=True, text=True, check=True, timeout=seconds + 60
    )
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if found is None:
        raise AssertionError(f"pgbench said {done.stdout}{done.stderr}")
    return float(found.group(1)) * tasker_work.TRANSITIONS_A_TASK
