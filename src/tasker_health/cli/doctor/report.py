"""What a walk has found, told: as a table with the worst first and a line that sums up, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tasker_health import __version__
from tasker_health.cli.doctor.findings import COLOURS, Finding, Verdict, code_of, in_a_cell
from tasker_health.cli.doctor.walk import worst_first
from tasker_health.cli.probe import forget

if TYPE_CHECKING:
    from rich.table import Table


_LEAST_COLUMNS = 70
"""On a narrower terminal five columns are a syllable each: what was found stands in lines then."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk has found.

    Attributes:
        version: Of Tasker Health.
        verdict: `error`, `warning` or `ok`, as the exit code says it.
        findings: The worst first.
    """

    version: str
    verdict: Verdict
    findings: list[Finding]


def report_of(findings: Sequence[Finding]) -> Report:
    """Return the report of *findings*."""
    verdict = (Verdict.OK, Verdict.WARNING, Verdict.ERROR)[code_of(findings)]
    return Report(version=__version__, verdict=verdict, findings=worst_first(findings))


def tell_report(report: Report, *, as_json: bool) -> int:
    """Print *report*; return the exit code."""
    try:
        if as_json:
            print(msgspec.json.encode(report).decode(), flush=True)
        else:
            _print(report.findings)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return code_of(report.findings)


def summary(findings: Sequence[Finding]) -> list[str]:
    """Return the lines that sum up *findings*: each trouble with what causes it, then the numbers and the code."""
    causes: dict[str, list[str]] = {}
    for each in findings:
        if each.trouble:
            causes.setdefault(each.trouble, []).append(f"{each.part}, {each.what}")
    counted = [_count(findings, Verdict.ERROR), _count(findings, Verdict.WARNING)]
    lines = [f"{trouble}: because of {'; '.join(found)}" for trouble, found in causes.items()]
    return [*lines, f"{', '.join(counted)}; exit code {code_of(findings)}"]


def _count(findings: Sequence[Finding], verdict: Verdict) -> str:
    number = sum(each.verdict is verdict for each in findings)
    return f"{number} {verdict}{'' if number == 1 else 's'}"


def _print(findings: Sequence[Finding]) -> None:
    from tasker_health.cli.console import Told

    console = Told(highlight=False, soft_wrap=False)
    if console.width < _LEAST_COLUMNS:
        for each in findings:
            console.print(in_a_cell(f"{each.verdict}: {each.part}, {each.what}", COLOURS[each.verdict]))
            for words in filter(None, (_measured(each), each.remedy)):
                console.print(in_a_cell(f"  {words}"))
    else:
        console.print(_table(findings))
    for line in summary(findings):
        console.print(in_a_cell(line))


def _measured(found: Finding) -> str:
    return f"{found.trouble}: {found.measured}" if found.trouble else found.measured


def _table(findings: Sequence[Finding]) -> Table:
    from rich.table import Table

    table = Table("part", "what", "measured", "verdict", "remedy", box=None, padding=(0, 2, 0, 0))
    for each in findings:
        part, what, seen, remedy = map(in_a_cell, (each.part, each.what, _measured(each), each.remedy))
        table.add_row(part, what, seen, in_a_cell(each.verdict, COLOURS[each.verdict]), remedy)
    return table
