"""What a doctor finds of the clock of this machine: against the database's, and whether it jumps."""

from __future__ import annotations

import time

from tasker_health.cli.doctor.database import examined
from tasker_health.cli.doctor.findings import Finding, Verdict, error, not_looked_at, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.errors import DatabaseFault

ERROR_SECONDS = 60.0
"""From here on ages, windows and the times of tokens are wrong, not only hard to compare."""

_STEP_SECONDS = 0.5
_NTP = "set the clocks of both machines by NTP (timedatectl set-ntp true, or chronyc makestep), and ask again"


async def look(visit: Visit) -> list[Finding]:
    """Return how far the clocks are apart, and whether this one was set while we looked."""
    wall, monotonic = time.time(), time.monotonic()
    findings = await _against_database(visit)
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
    return [_judged(each) for each in found if each.what == "clocks"]


def _judged(found: Finding) -> Finding:
    apart = found.figures.get("clock_difference_s", 0.0)
    if found.verdict is Verdict.OK:
        return Finding(what="database's", measured=found.measured, figures=found.figures)
    make = error if abs(apart) >= ERROR_SECONDS else warning
    return make("database's", found.measured, _NTP, found.figures)
