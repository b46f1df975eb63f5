"""`python -m bench [serving|status|start|guard] [--rounds N] [--write]`: measure, print, and keep what was measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench import guard, serving, start, status
from bench.machine import description
from bench.page import write
from bench.table import Table

TABLES: dict[str, Callable[[int | None], Table]] = {
    "serving": serving.measure,
    "status": status.measure,
    "start": start.measure,
    "guard": guard.measure,
}


def main() -> int:
    """Measure what the arguments name; return 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, print, and say which goals are reached.")
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}, peers (in serving); all when none is named"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row, in place of each table's own number")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/benchmarks.md")
    arguments = parser.parse_args()
    names = [("serving" if name == "peers" else name) for name in arguments.tables] or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"no table {unknown[0]}; there are {', '.join(TABLES)}")
    print(f"Measured on {description()}\n", flush=True)
    for name in dict.fromkeys(names):
        table = TABLES[name](arguments.rounds)
        print(table.text(), end="\n\n", flush=True)
        if arguments.write:
            write(name, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
