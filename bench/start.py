"""How fast things start: `serve` to its first answer, `probe` and the import, against an interpreter without them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.history import History, Shape
from bench.subject import Subject, free_port
from bench.table import Goal, Table

SERVE_GOAL_MS, PROBE_GOAL_MS, IMPORT_GOAL_MS = 1000, 50, 80
_LIVE = "/tasker/health/live"


def measure(rounds: int | None) -> Table:
    """Return how long the commands take, over *rounds* for each row."""
    rounds = max(7, rounds or 9)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/shop.db"
        History(Shape(tasks=1000, seconds=86400), round(time.time() * 1000)).write(url)
        environment = {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": "dbos"}
        serve = [_first_answer_ms(environment) for _ in range(rounds)]
        nothing, probe, package, health = _probes(environment, rounds * 3)
    idle = statistics.median(nothing)
    return Table(
        "Starting",
        ["command", "median ms", "least ms"],
        rows=[
            _row("python -m tasker_health serve, to the first 200 of /live", serve),
            _row("python -c pass", nothing),
            _row("tasker-health probe URL", probe),
            _row("python -c 'import tasker_health'", package),
            _row("python -c 'from tasker_health import Health'", health),
        ],
        goals=[
            Goal("serve to the first 200 of /live", statistics.median(serve), SERVE_GOAL_MS, " ms"),
            Goal("probe, more than python -c pass", statistics.median(probe) - idle, PROBE_GOAL_MS, " ms"),
            Goal("the import, more than python -c pass", statistics.median(package) - idle, IMPORT_GOAL_MS, " ms"),
        ],
        notes=[
            f"Wall time. {rounds} starts of `serve` with its guard, and with a database and a dbos source on SQLite.",
            f"{rounds * 3} interleaved runs of the others. Byte code is compiled before, as pip and ./dev setup do.",
        ],
    )


def _first_answer_ms(environment: dict[str, str]) -> float:
    guard = {"TASKER_GUARD__ENABLED": "true", "TASKER_GUARD__PORT": str(free_port())}
    subject = Subject("serve", "tasker_health", _LIVE, ("serve",), {**environment, **guard})
    began = time.perf_counter()
    subject.launch()
    try:
        subject.await_answer(pause_seconds=0.002)
        return (time.perf_counter() - began) * 1000
    finally:
        subject.end()


def _probes(environment: dict[str, str], rounds: int) -> list[list[float]]:
    """Return how long an interpreter takes that does nothing, one that probes, and two that import; in turns."""
    python = sys.executable
    with Subject("serve", "tasker_health", _LIVE, ("serve",), environment).running() as subject:
        commands = [
            [python, "-c", "pass"],
            [str(Path(python).parent / "tasker-health"), "probe", subject.url],
            [python, "-c", "import tasker_health"],
            [python, "-c", "from tasker_health import Health"],
        ]
        runs = [[_run_ms(command) for command in commands] for _ in range(rounds)]
    return [list(column) for column in zip(*runs, strict=True)]


def _run_ms(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=30)
    return (time.perf_counter() - began) * 1000


def _row(name: str, milliseconds: list[float]) -> tuple[str, str, str]:
    return name, f"{statistics.median(milliseconds):.1f}", f"{min(milliseconds):.1f}"
