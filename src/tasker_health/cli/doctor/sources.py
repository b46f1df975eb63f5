"""`tasker-health doctor sources`: how each source is read, how long that takes, and what would make it faster."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import Any

from msgspec.structs import replace

from tasker_health.cli.doctor.findings import (
    SLOW_ANSWERS,
    Finding,
    causing,
    error,
    not_looked_at,
    note,
    tell,
    warning,
)
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.logs import set_up_logging
from tasker_health.cli.probe import say
from tasker_health.deadline import within
from tasker_health.errors import DatabaseFault, SourceFault
from tasker_health.model import CountingMethod, Facts, Reason
from tasker_health.settings import Settings
from tasker_health.sources import Source
from tasker_health.sources.chosen import built_in_sources

_PATIENCE_SECONDS = 12.0
_AGAIN, _AGAIN_SECONDS = 3, 1.0

_REMEDIES = {
    Reason.UNKNOWN_VERSION: "use a version of Tasker Health that knows it: the newest, or the engine's version before",
    Reason.MISSING: "have the engine make its tables, or correct sources.{name}.url and sources.{name}.schema",
    Reason.AUTHENTICATION_FAILED: "grant SELECT on the engine's tables, or correct user and password of the URL",
    Reason.TIMEOUT: "see whether its tables are locked, or make counting faster: tasker-health doctor sources",
    Reason.TOO_MANY_CONNECTIONS: "raise the server's maximum, or close what others leave open",
}
_FASTER = ": faster"
_OTHER = "correct sources.{name}.url, or start the server"


def examine_sources(settings: Settings, *, as_json: bool) -> int:
    """Print what was found of every source; return 2 when one cannot be read, 1 when something is to be changed.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    set_up_logging(settings.log)
    findings = asyncio.run(examined(settings))
    if as_json:
        return tell(findings, as_json=True)
    statements = [each for each in findings if each.what.endswith(_FASTER)]
    below = [replace(each, remedy="the statement below") if each in statements else each for each in findings]
    code = tell(below, as_json=False)
    # In no table: what is to be copied must not be folded.
    say(sys.stdout, "".join(f"\n-- {each.what}: {each.measured}\n{each.remedy}\n" for each in statements))
    return code


async def look(visit: Visit) -> list[Finding]:
    """Return how each source is read; one whose database another part has found away is not looked at.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    found = await examined(visit.settings, visit.cause("database", "pool"))
    advice = [each for each in found if each.what.endswith(_FASTER)]
    rows = [each for each in found if each not in advice]
    if advice:
        words = f"{len(advice)} indexes would make a full count faster"
        rows.append(note("indexes", words, "tasker-health doctor sources prints them"))
    return causing(SLOW_ANSWERS, rows, {f"{name}: method" for name in visit.settings.sources})


async def examined(settings: Settings, cause: str = "") -> list[Finding]:
    """Return what is found of the sources; those at `database.url` are not asked where there is a *cause*.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    if not settings.sources:
        return [Finding(what="sources", measured="no source is configured: name one in [sources.<name>]")]
    findings: list[Finding] = []
    for source in built_in_sources(settings):
        own = settings.sources[source.name].url
        if cause and (own is None or own == settings.database.url):
            findings.append(not_looked_at(source.name, cause))
        else:
            findings += await _of(source, settings.sources[source.name].full_count_timeout_seconds)
    return findings


async def _of(source: Source, full_count_seconds: float) -> list[Finding]:
    """Return what is found of *source*, or why it cannot be read."""
    seconds = min(_PATIENCE_SECONDS, full_count_seconds)
    try:
        return await within(_read(source, seconds), _PATIENCE_SECONDS + 1)
    except (DatabaseFault, SourceFault) as fault:
        remedy = _REMEDIES.get(fault.reason, _OTHER).format(name=source.name)
        return [error(source.name, f"{fault.reason}: {fault}", remedy)]
    except TimeoutError:
        return [error(source.name, f"timeout: not read within {seconds:g} s", _REMEDIES[Reason.TIMEOUT])]
    finally:
        await source.close()


async def _read(source: Source, seconds: float) -> list[Finding]:
    began = time.perf_counter()
    await source.read(seconds)
    first = time.perf_counter()
    facts, again_ms = await _read_again(source, seconds)
    if facts.method is CountingMethod.FULL_COUNT:  # rows that have just been deleted are a reason, too
        facts = await source.read(seconds)
    figures = {"first_ms": round((first - began) * 1000, 1), "again_ms": round(again_ms, 1)}
    if facts.total is not None:
        figures["tasks"] = float(facts.total)
    words = f"{facts.total} tasks, by {facts.method}; first {figures['first_ms']:g} ms, then {figures['again_ms']:g} ms"
    advise: Any = getattr(source, "advice", None)
    advice = [] if advise is None else await advise(seconds)
    rows = [Finding(what=source.name, measured=words, figures=figures), *_method(source.name, facts)]
    return [*rows, *(note(f"{source.name}{_FASTER}", each.good_for, each.statement) for each in advice)]


async def _read_again(source: Source, seconds: float) -> tuple[Facts, float]:
    """Return the facts of a further reading, and how many milliseconds the quickest of some took.

    One alone may meet a busy moment, as the other parts look meanwhile.
    """
    quickest = math.inf
    ends_at = time.perf_counter() + _AGAIN_SECONDS
    for _ in range(_AGAIN):
        began = time.perf_counter()
        facts = await source.read(seconds)
        quickest = min(quickest, (time.perf_counter() - began) * 1000)
        if time.perf_counter() > ends_at:
            break
    return facts, quickest


def _method(name: str, facts: Facts) -> list[Finding]:
    """Return why everything is counted each time, where no tally goes on."""
    if facts.method is not CountingMethod.FULL_COUNT:
        return []
    words = "everything is counted each time: no tally can be kept, so that the cost grows with history"
    remedy = (
        "ask the primary and not a standby, and the sequences of the ids one by one: GRANT SELECT on them,"
        " ALTER SEQUENCE ... CACHE 1"
    )
    return [warning(f"{name}: method", words, remedy)]
