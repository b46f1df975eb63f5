"""What a doctor has found: one row for each thing that was looked at, with its figures and what to do."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from tasker_health.cli.probe import forget

if TYPE_CHECKING:
    from rich.text import Text

ALL_WELL, WARNED, ERRED = 0, 1, 2

SLOW_ANSWERS, CACHE_NOT_WORKING, AUTHORIZATION_ERRORS = "slow answers", "cache not working", "authorization errors"
"""The troubles that the guide of Rails Tasker's endpoints names."""


class Verdict(StrEnum):
    """What is thought of one thing.

    `warning` asks for something to be done; `error` says that something does not work until it is. A `note` is as it
    should be, with something to know, and `unknown` could not be looked at.
    """

    OK = "ok"
    NOTE = "note"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


COLOURS = {
    Verdict.OK: "green",
    Verdict.NOTE: "cyan",
    Verdict.UNKNOWN: "magenta",
    Verdict.WARNING: "yellow",
    Verdict.ERROR: "red",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        what: Its name.
        measured: What was seen, in words.
        verdict: What is thought of it.
        remedy: What to do, or to know.
        figures: What was measured, by name and unit.
        part: Of the walk, that which looked; empty: only one part was looked at.
        trouble: Which of the guide's troubles it is the cause of; empty: none.
    """

    what: str
    measured: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""
    figures: dict[str, float] = {}
    part: str = ""
    trouble: str = ""


def warning(what: str, measured: str, remedy: str, figures: dict[str, float] | None = None) -> Finding:
    """Return a finding that asks for something to be done: *remedy*."""
    return Finding(what=what, measured=measured, verdict=Verdict.WARNING, remedy=remedy, figures=figures or {})


def error(what: str, measured: str, remedy: str, figures: dict[str, float] | None = None) -> Finding:
    """Return a finding of what does not work until *remedy* is done."""
    return Finding(what=what, measured=measured, verdict=Verdict.ERROR, remedy=remedy, figures=figures or {})


def note(what: str, measured: str, remedy: str) -> Finding:
    """Return a finding that is as it should be, with something to know."""
    return Finding(what=what, measured=measured, verdict=Verdict.NOTE, remedy=remedy)


def not_looked_at(what: str, cause: str) -> Finding:
    """Return a finding of what could not be looked at, because of what the part *cause* has found."""
    return Finding(what=what, measured=f"not looked at: {cause}", verdict=Verdict.UNKNOWN)


def causing(trouble: str, findings: Sequence[Finding], among: Collection[str] | None = None) -> list[Finding]:
    """Return *findings*, of which those that ask for something, of the things *among* which, cause *trouble*."""
    asking = {Verdict.WARNING, Verdict.ERROR}
    return [
        msgspec.structs.replace(each, trouble=trouble)
        if each.verdict in asking and (among is None or each.what in among)
        else each
        for each in findings
    ]


def code_of(findings: Sequence[Finding]) -> int:
    """Return the exit code: 2 with an error, 1 with a warning, else 0."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.ERROR in verdicts:
        return ERRED
    return WARNED if Verdict.WARNING in verdicts else ALL_WELL


def tell(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print *findings*; return their exit code."""
    try:
        if as_json:
            print(msgspec.json.encode(findings).decode(), flush=True)
        else:
            _print(findings)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return code_of(findings)


def in_a_cell(words: str, style: str = "") -> Text:
    """Return *words* for a terminal: of what a server names, nothing is obeyed, and no name is cut."""
    from rich.text import Text

    return Text("".join(each if each.isprintable() or each == "\n" else "?" for each in words), style, overflow="fold")


def _print(findings: Sequence[Finding]) -> None:
    from rich.table import Table

    from tasker_health.cli.console import Told

    table = Table("what", "measured", "verdict", "remedy", box=None, padding=(0, 2, 0, 0))
    for found in findings:
        verdict = in_a_cell(found.verdict, COLOURS[found.verdict])
        what, measured, remedy = map(in_a_cell, (found.what, found.measured, found.remedy))
        table.add_row(what, measured, verdict, remedy)
    Told(highlight=False).print(table)
