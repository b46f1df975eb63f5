"""What a doctor finds of the time that answers take, and which part of them takes it."""

from __future__ import annotations

import asyncio
import time

from tasker_health.assembly import built_in_checks
from tasker_health.checks import Check
from tasker_health.cli.doctor.findings import SLOW_ANSWERS, Finding, Verdict, not_looked_at, note, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.database import Database
from tasker_health.deadline import within

PROMISE_MS = 100.0
"""For `/ready`, and for a `/status` that is read anew (guide: "ready and status 100 ms")."""

_ROUNDS = 3
_ROUND_SECONDS = 3.0


async def look(visit: Visit) -> list[Finding]:
    """Return how long `/ready` and `/status` take without the way to the prober, against what is promised."""
    return [await _ready(visit), *_status(visit)]


async def _ready(visit: Visit) -> Finding:
    if cause := visit.cause("database", "pool", "migrations"):
        return not_looked_at("ready", cause)
    databases: list[Database] = []
    try:
        took: dict[str, float] = {}
        for check in built_in_checks(visit.settings, databases):
            took[check.name] = min([await _timed(check) for _ in range(_ROUNDS)])
    finally:
        for database in databases:
            await database.close()
    words = ", ".join(f"{name} {ms:.0f} ms" for name, ms in took.items())
    return _judged(visit, "ready", max(took.values(), default=0.0), words or "no check asks anything")


async def _timed(check: Check) -> float:
    """Return how many milliseconds *check* takes, whatever it says."""
    began = time.perf_counter()
    try:
        await within(check(), _ROUND_SECONDS)
    except Exception:  # noqa: BLE001 -- what it says is another part's
        await asyncio.sleep(0)
    return (time.perf_counter() - began) * 1000


def _status(visit: Visit) -> list[Finding]:
    took = {
        each.what: each.figures["again_ms"] for each in visit.found.get("sources", ()) if "again_ms" in each.figures
    }
    if not took:
        return []
    words = ", ".join(f"{name} {ms:.0f} ms" for name, ms in took.items())
    return [_judged(visit, "status, not cached", max(took.values()), words)]


def _judged(visit: Visit, what: str, milliseconds: float, words: str) -> Finding:
    figures = {"milliseconds": round(milliseconds, 1)}
    measured = f"{milliseconds:.0f} ms ({words}), promised are {PROMISE_MS:g} ms"
    if milliseconds <= PROMISE_MS:
        return Finding(what=what, measured=measured, figures=figures)
    causes = [f"{e.part}, {e.what}" for found in visit.found.values() for e in found if e.trouble == SLOW_ANSWERS]
    if causes:
        return note(what, measured, f"because of {'; '.join(causes)}")
    found = warning(what, measured, "see what it waits for: the load of this machine, or a check of your own", figures)
    return Finding(
        what=what,
        measured=measured,
        verdict=Verdict.WARNING,
        remedy=found.remedy,
        figures=figures,
        trouble=SLOW_ANSWERS,
    )
