"""`tasker-health doctor`: looks at everything, and says first what is worst."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from tasker_health.cli.doctor.findings import Finding, Verdict
from tasker_health.cli.doctor.parts import chosen_parts
from tasker_health.cli.doctor.report import report_of, tell_report
from tasker_health.cli.doctor.walk import Registered, Visit, refused, walk
from tasker_health.cli.logs import set_up_logging
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_with_origins


def examine_everything(
    config: Path | None, manifests: Sequence[str], part_names: Sequence[str], *, as_json: bool
) -> int:
    """Print what all parts find, or those of *part_names*; return 1 when something is to be changed, 2 for an error.

    Raises:
        ConfigurationError: A part is not known.
    """
    parts = chosen_parts(part_names)
    try:
        settings, origins = load_with_origins(config)
    except ConfigurationError as wrong:
        return tell_report(report_of(_refused(wrong)), as_json=as_json)
    # What a check or a source logs is what its row says.
    set_up_logging(settings.log.model_copy(update={"level": "error"}))
    visit = Visit(settings, origins, tuple(manifests), config=config)
    return tell_report(report_of(_walked(visit, parts)), as_json=as_json)


def _refused(wrong: ConfigurationError) -> list[Finding]:
    """Return what is found when there are no settings to look with."""
    rest = Finding(what="the rest", measured="not looked at: settings", verdict=Verdict.UNKNOWN)
    return [replace(refused(wrong), part="settings"), rest]


def _walked(visit: Visit, parts: Sequence[Registered]) -> list[Finding]:
    """Return what *parts* find; where somebody sees it, a line says who still looks."""
    if not sys.stderr.isatty():
        return asyncio.run(walk(visit, parts))
    from rich.console import Console

    with Console(stderr=True).status("looking") as status:
        return asyncio.run(walk(visit, parts, told=lambda names: status.update(f"looking at {', '.join(names)}")))
