"""`tasker-health doctor sources`: how each source is read, how long that takes, and what would make it faster."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tasker_health.assembly import built_in_sources
from tasker_health.cli.logs import set_up_logging
from tasker_health.cli.probe import forget
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.settings import Settings
from tasker_health.sources import Advice, Source

WELL, UNREADABLE = 0, 1


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one source.

    Attributes:
        first_ms, again_ms: How long the first and a second reading took.
        tasks: How many there are.
        method: How they are counted.
        problem: Why it could not be read.
        advice: What its owner could do.
    """

    source: str
    first_ms: int | None = None
    again_ms: int | None = None
    tasks: int | None = None
    method: str | None = None
    problem: str | None = None
    advice: list[Advice] = []


def examine_sources(settings: Settings, *, as_json: bool) -> int:
    """Print what was found of every source; return 1 when one cannot be read.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    set_up_logging(settings.log)
    findings = asyncio.run(_examine_all(settings))
    try:
        if as_json:
            print(msgspec.json.encode(findings).decode(), flush=True)
        else:
            _print(findings)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return UNREADABLE if any(finding.problem for finding in findings) else WELL


async def _examine_all(settings: Settings) -> list[Finding]:
    findings = []
    for source in built_in_sources(settings):
        seconds = settings.sources[source.name].full_count_timeout_seconds
        try:
            findings.append(await _examine(source, seconds))
        except (DatabaseFault, SourceFault) as fault:
            findings.append(Finding(source=source.name, problem=f"{fault.reason}: {fault}"))
        finally:
            await source.close()
    return findings


async def _examine(source: Source, seconds: float) -> Finding:
    began = time.perf_counter()
    await source.read(seconds)
    first = time.perf_counter()
    facts = await source.read(seconds)
    again = time.perf_counter()
    advise: Any = getattr(source, "advice", None)
    return Finding(
        source=source.name,
        first_ms=round((first - began) * 1000),
        again_ms=round((again - first) * 1000),
        tasks=facts.total,
        method=facts.method,
        advice=[] if advise is None else await advise(seconds),
    )


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not findings:
        console.print("no source is configured: name one in [sources.<name>]", markup=False)
        return
    table = Table("source", "tasks", "method", "first ms", "again ms", "problem", box=None)
    for found in findings:
        figures = (found.tasks, found.method, found.first_ms, found.again_ms, found.problem)
        table.add_row(found.source, *("" if each is None else str(each) for each in figures))
    console.print(table)
    for found in findings:
        for advice in found.advice:
            console.print(f"\n-- {found.source}: {advice.good_for}\n{advice.statement}", markup=False)
