"""What a doctor finds of the clock of this machine: against the database's and the cache's, and whether it jumps."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from tasker_health.cache.chosen import chosen_cache
from tasker_health.cli.doctor.cache_asking import PATIENCE_SECONDS
from tasker_health.cli.doctor.database import examined
from tasker_health.cli.doctor.database_network import clocks
from tasker_health.cli.doctor.findings import Finding, Verdict, error, not_looked_at, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.clock import SystemClock
from tasker_health.errors import CacheFault, ConfigurationError, DatabaseFault

ERROR_SECONDS = 60.0
"""From here on ages, windows and the times of tokens are wrong, not only hard to compare."""

_STEP_SECONDS = 0.5
_NTP = "set the clocks of both machines by NTP (timedatectl set-ntp true, or chronyc makestep), and ask again"


async def look(visit: Visit) -> list[Finding]:
    """Return how far the clocks are apart, and whether this one was set while we looked."""
    wall, monotonic = time.time(), time.monotonic()
    findings = [*await _against_database(visit), *await _against_cache(visit)]
    stepped = (time.time() - wall) - (time.monotonic() - monotonic)
    if abs(stepped) > _STEP_SECONDS:
        findings.append(warning("steps", f"the clock was set by {stepped:+.1f} s meanwhile", _NTP))
    return findings


async def _against_database(visit: Visit) -> list[Finding]:
    url = visit.settings.database.url
    if url is None:
        return [Finding(what="database's", measured="no database to compare with", verdict=Verdict.UNKNOWN)]
    if cause := visit.cause("database", "pool"):
        return [not_looked_at("database's", cause)]
    try:
        found = await examined(visit.settings, url.get_secret_value(), ("server",))
    except DatabaseFault:
        return [not_looked_at("database's", "database")]
    return [_judged("database's", each) for each in found if each.what == "clocks"]


async def _against_cache(visit: Visit) -> list[Finding]:
    """Return how far the clock of the cache is from this one, where it has one that may be asked: Redis and Valkey."""
    patient = visit.settings.cache.model_copy(update={"timeout_seconds": PATIENCE_SECONDS})
    try:
        cache = chosen_cache(visit.settings.model_copy(update={"cache": patient}), SystemClock())
    except ConfigurationError:  # which the part of the cache tells
        return []
    ask: Callable[[], Awaitable[float]] | None = getattr(cache, "now", None)
    if ask is None:
        return []
    try:
        await ask()  # connects
        asked = time.time()
        there = await ask()
        answered = time.time()
    except CacheFault:
        return [not_looked_at("cache's", "cache")]
    finally:
        await cache.close()
    found = clocks(there - (asked + answered) / 2, answered - asked)
    return [_judged("cache's", replace(found, measured=found.measured.replace("the database", "the cache")))]


def _judged(what: str, found: Finding) -> Finding:
    apart = found.figures.get("clock_difference_s", 0.0)
    if found.verdict is Verdict.OK:
        return Finding(what=what, measured=found.measured, figures=found.figures)
    make = error if abs(apart) >= ERROR_SECONDS else warning
    return make(what, found.measured, _NTP, found.figures)
