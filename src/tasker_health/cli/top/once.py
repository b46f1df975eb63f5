"""`tasker-health top --once`, and wherever there is no terminal: the same lines, printed."""

from __future__ import annotations

import asyncio
import sys
import textwrap

from rich.text import Text

from tasker_health.cli.console import Told
from tasker_health.cli.probe import forget, say
from tasker_health.cli.top.asking import Asking
from tasker_health.cli.top.sections import headline, sections_of
from tasker_health.cli.top.snapshot import Snapshot
from tasker_health.cli.top.target import Target
from tasker_health.model import CheckStatus, SystemStatus

HEALTHY, UNHEALTHY, NOT_ASKED = 0, 1, 2


def show_once(target: Target, *, patience_seconds: float, fail_on: str) -> int:
    """Print how *target* is; return 0, 1, or 2 when it could not be asked."""
    asking = Asking(target, patience_seconds)
    try:
        snapshot = asyncio.run(asking.ask())
    finally:
        asking.close()
    if snapshot.status is None or snapshot.ready is None:
        say(sys.stderr, f"tasker-health top: {target.url}: {snapshot.words or 'its readiness is not told'}\n")
        return NOT_ASKED
    try:
        _print(target, snapshot)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return code_of(snapshot, fail_on)


def code_of(snapshot: Snapshot, fail_on: str) -> int:
    """Return the exit code for *snapshot*, as `check` has it."""
    report, ready = snapshot.status, snapshot.ready
    if report is None or ready is None:
        return NOT_ASKED
    if not ready.ready or report.status is SystemStatus.UNHEALTHY:
        return UNHEALTHY
    degraded = report.status is SystemStatus.DEGRADED
    degraded = degraded or any(result.status is not CheckStatus.OK for result in ready.checks.values())
    return UNHEALTHY if degraded and fail_on == "degraded" else HEALTHY


def _print(target: Target, snapshot: Snapshot) -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a terminal of few characters shows ? where a sign would stand
    console = Told(file=sys.stdout, markup=False, highlight=False, emoji=False)
    width = console.width
    console.print(Text(target.url, style="dim"), soft_wrap=True)
    console.print(headline(snapshot, 0), soft_wrap=True)
    for section in sections_of(snapshot, width):
        console.print()
        console.print(Text(section.title, style="bold underline"))
        for line in section.lines:
            for each in folded(line, width):
                console.print(each, soft_wrap=True)


def folded(line: Text, width: int) -> list[Text]:
    """Return *line* in pieces of at most *width* cells, indented after the first."""
    line.rstrip()
    if line.cell_len <= width:
        return [line]
    pieces = textwrap.wrap(line.plain, max(10, width), subsequent_indent="  ", drop_whitespace=True)
    return [Text(piece, style=line.style) for piece in pieces]
