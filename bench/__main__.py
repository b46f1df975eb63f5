"""`python -m bench [TABLE ...] [--rounds N] [--probes N] [--sizes N,N] [--write]`: measure, print, keep."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial

from bench import (
    access,
    caches,
    exporters,
    fault_peers,
    faults,
    frameworks,
    guard,
    report,
    serving,
    sources,
    start,
    status,
    workers,
    writers,
)
from bench.machine import description
from bench.page import arrange, write
from bench.table import Table

TABLES: dict[str, Callable[..., Table]] = {
    "report": report.measure,
    "serving": serving.measure,
    "status": status.measure,
    "start": start.measure,
    "access": access.measure,
    "frameworks": frameworks.measure,
    "cache": caches.measure,
    "guard": guard.measure,
    "exporters": exporters.measure,
    "faults": faults.measure,
    "fault-peers": fault_peers.measure,
    "sources": sources.measure,
    "writers": writers.measure,
    "workers": workers.measure,
}
ALIASES = {"peers": ["serving"], "faults": ["faults", "fault-peers"], "sources": ["sources", "writers"]}
FAULTS, SIZED = ALIASES["faults"], ALIASES["sources"]


def main() -> int:
    """Measure what the arguments name; return 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, print, and say which goals are reached.")
    parser.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help=f"{', '.join(TABLES)}, peers (in serving); when none is named, all but faults,"
        " sources, writers and report, which take long or are always kept",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row, in place of each table's own number")
    parser.add_argument("--probes", type=int, help=f"probes of each kind under each fault (default {faults.PROBES:,})")
    parser.add_argument("--sizes", type=_sizes, default=sources.SIZES, help="tasks of sources, such as 10000,1000000")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/benchmarks.md or fault-matrix.md")
    arguments = parser.parse_args()
    names = [each for name in arguments.tables for each in ALIASES.get(name, [name])]
    names = names or [name for name in TABLES if name not in {*FAULTS, *SIZED, "report"}]
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table {unknown[0]}; there are {', '.join(TABLES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every server is ended then, too
    print(f"Measured on {description()}\n", flush=True)
    for name in dict.fromkeys(names):
        measure = partial(TABLES[name], sizes=arguments.sizes) if name in SIZED else TABLES[name]
        table = measure(arguments.probes if name in FAULTS else arguments.rounds)
        print(table.text(), end="\n\n", flush=True)
        if arguments.write or name == "report":
            write(name, table)
            arrange(list(TABLES))
    return 0


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(size) for size in text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
