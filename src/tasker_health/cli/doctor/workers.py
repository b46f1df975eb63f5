"""What a doctor finds of the workers' heartbeats: the store, its table and clock, who is dead, who is named twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from tasker_health.cli.doctor.findings import Finding, error, not_looked_at, note, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.workers import counts, judged, worst_first
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.workers import Ledger, Seen, Worker, WorkerState
from tasker_health.workers.chosen import chosen_ledger

_REMEDIES = {
    Reason.MISSING: "start a worker that calls health.worker(...), or run tasker-health workers migrate",
    Reason.PENDING: "run tasker-health workers migrate",
    Reason.UNKNOWN_VERSION: "use the version of Tasker Health that the workers have; if the table is another program's,"
    " set workers.url to another database",
    Reason.AUTHENTICATION_FAILED: "correct user and password of workers.url, or grant SELECT on tasker_health_workers"
    " and tasker_health_version",
    Reason.TIMEOUT: "see whether the store is paused, or raise workers.timeout_seconds",
}
_OTHER = "correct workers.url, or start the store"
_MOST_NAMES = 5
_APART_SECONDS = 1.0
_LOOKS_BEATS, _LONGEST_LOOK_SECONDS, _LOOKS = 1.5, 8.0, 6
"""Two that write in the place of one another are seen when both have written: within a period and a half."""


async def look(visit: Visit) -> list[Finding]:
    """Return what is found of the heartbeats.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    settings = visit.settings
    ledger = chosen_ledger(settings)
    if ledger is None:
        return [Finding(what="heartbeats", measured="none are kept: neither workers.url nor database.url is set")]
    if settings.workers.url in {None, settings.database.url} and (cause := visit.cause("database", "pool")):
        return [not_looked_at("heartbeats", cause)]
    try:
        began = time.perf_counter()
        seen = await ledger.read()
        took_ms = (time.perf_counter() - began) * 1000
        words = f"{ledger.name}: {len(seen)} workers, read in {took_ms:.1f} ms, connecting included"
        table = Finding(
            what="heartbeats", measured=words, figures={"workers": len(seen), "first_ms": round(took_ms, 1)}
        )
        return [table, *_clock(seen), *_states(seen), *_shared_owners(seen), *await _written_by_two(ledger, seen)]
    except LedgerFault as fault:
        if fault.reason is Reason.MISSING:
            return [_nobody(ledger, is_wanted=settings.workers.url is not None)]
        return [error("heartbeats", f"{fault.reason}: {fault}", _REMEDIES.get(fault.reason, _OTHER))]
    finally:
        await ledger.close()


def _nobody(ledger: Ledger, *, is_wanted: bool) -> Finding:
    words = f"{ledger.name}: no worker has ever written one here"
    if is_wanted:
        return note("heartbeats", words, _REMEDIES[Reason.MISSING])
    return Finding(what="heartbeats", measured=words)


def _clock(seen: Sequence[Seen]) -> list[Finding]:
    """Return how far this machine's clock is from the store's; nothing depends on it but what people compare."""
    if not seen:
        return []
    apart = time.time() - (seen[0].at + seen[0].age_seconds)
    words = f"{apart:+.1f} s from the store's; ages are by the store's alone"
    figures = {"clock_difference_s": round(apart, 3)}
    if abs(apart) < _APART_SECONDS:
        return [Finding(what="clock", measured=words, figures=figures)]
    return [note("clock", words, "set the clocks of both machines by NTP, to compare times in logs")]


def _states(seen: Sequence[Seen]) -> list[Finding]:
    workers = worst_first(judged(each) for each in seen)
    number = counts(workers)
    remedies = {
        WorkerState.DEAD: "see why they have ended; what they held: tasker-health stuck",
        WorkerState.STALLED: "see what they wait for: their logs, their queues and versions",
    }
    found = [
        warning(f"{state} workers", _names([each for each in workers if each.state is state]), remedy)
        for state, remedy in remedies.items()
        if number[state]
    ]
    return found if found or not workers else [Finding(what="workers", measured=f"all {len(workers)} are alive")]


def _names(workers: Sequence[Worker]) -> str:
    shown = [f"{each.beat.worker_id} ({each.age_seconds:.0f} s silent)" for each in workers[:_MOST_NAMES]]
    more = len(workers) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shared_owners(seen: Sequence[Seen]) -> list[Finding]:
    """Return which name that the engine knows several live workers have: whose work is whose cannot be told then."""
    alive = [each for each in map(judged, seen) if each.state is not WorkerState.DEAD]
    times = Counter((each.beat.engine, each.owner_id) for each in alive)
    return [
        warning(f"{engine}: {owner}", f"{number} live workers have this name in the engine", "give each its own name")
        for (engine, owner), number in times.items()
        if number > 1
    ]


async def _written_by_two(ledger: Ledger, seen: Sequence[Seen]) -> list[Finding]:
    """Return who is written in turns by several processes: each takes the place of the other, and both look alive."""
    fresh = [each.beat.period_seconds for each in seen if judged(each).state is not WorkerState.DEAD]
    if not fresh:
        return []
    pause = min(_LOOKS_BEATS * max(fresh), _LONGEST_LOOK_SECONDS) / _LOOKS
    places: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for _ in range(_LOOKS):
        for each in seen:
            places[each.beat.worker_id].add((each.beat.host, each.beat.pid))
        await asyncio.sleep(pause)
        seen = await ledger.read()
    return [
        warning(
            name,
            f"written by several processes: {', '.join(sorted(f'{host}:{pid}' for host, pid in found))}",
            "give each its own name; if it was just restarted, ask again",
        )
        for name, found in places.items()
        if len(found) > 1
    ]
