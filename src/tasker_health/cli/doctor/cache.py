"""`tasker-health doctor cache`: measures the path to the cache here and now, and says what to change, with figures."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from tasker_health.cache import Cache
from tasker_health.cache.chosen import chosen_cache, sealer_of
from tasker_health.cache.sealing import Refusal, RefusedError, Sealer
from tasker_health.cache.shared import LEASE_SECONDS
from tasker_health.cli.doctor.cache_advice import advice
from tasker_health.cli.doctor.cache_asking import PATIENCE_SECONDS, Asking, failed, remedy_of
from tasker_health.cli.doctor.cache_speed import CacheSpeed
from tasker_health.cli.doctor.cache_terms import CacheTerms
from tasker_health.cli.doctor.findings import (
    CACHE_NOT_WORKING,
    Finding,
    Verdict,
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
from tasker_health.clock import SystemClock
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.renewal import told_as
from tasker_health.settings import Settings
from tasker_health.sources.chosen import built_in_sources

NOT_ASKED = 2

_AWAY = {Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE}

_REFUSALS = {
    Refusal.INVALID: "another program writes under this key, or somebody has tampered: choose another cache.namespace",
    Refusal.VERSION: "another version of Tasker Health writes there: run one, or choose another cache.namespace",
    Refusal.SIGNATURE: "give all processes the same cache.signing_key; if they have it, somebody has tampered",
    Refusal.FOREIGN: "somebody has copied it there from another service: find out who writes to this cache",
    Refusal.OVERSIZED: "another program writes under this key: choose another cache.namespace",
    Refusal.CLOCK: "set the clocks of all machines (NTP); if they are right, an old entry was put back",
}

_MEASURED = {"read back", "largest", "age", "lease", "expiry"}
_SAFETY = {"signature", "transport"}
"""What may be wrong with a cache that works."""

Measure = Callable[[], Coroutine[Any, Any, Finding]]


def examine_cache(settings: Settings, *, as_json: bool) -> int:
    """Print what was found of the cache of *settings*; return 1 when something is to be changed, 2 if it is away.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    set_up_logging(settings.log)
    patient = settings.cache.model_copy(update={"timeout_seconds": PATIENCE_SECONDS})
    asked = settings.model_copy(update={"cache": patient})
    clock = SystemClock()
    try:
        findings = asyncio.run(examined(settings, lambda: chosen_cache(asked, clock)))
    except CacheFault as fault:
        name = settings.cache.url.get_secret_value().partition("://")[0]
        say(sys.stderr, f"tasker-health: {name} cannot be asked: {fault.reason}: {fault}; {remedy_of(fault.reason)}\n")
        return NOT_ASKED
    return tell(findings, as_json=as_json)


async def look(visit: Visit) -> list[Finding]:
    """Return what is found of the cache; of one in memory only what the settings mean for it.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    settings, clock = visit.settings, SystemClock()
    patient = settings.cache.model_copy(update={"timeout_seconds": PATIENCE_SECONDS})
    asked = settings.model_copy(update={"cache": patient})
    cache = chosen_cache(asked, clock)
    if cache.name == "memory":
        return causing(CACHE_NOT_WORKING, advice(settings, cache), {"time to live"})
    if cache.name == "sql" and (cause := visit.cause("database", "pool")):
        return [not_looked_at("cache", cause)]
    try:
        found = await examined(settings, lambda: chosen_cache(asked, clock))
    except CacheFault as fault:
        found = [error("path", f"{cache.name}: {fault.reason}: {fault}", remedy_of(fault.reason))]
    finally:
        await cache.close()
    refuses = any(each.what == "write" and each.verdict is Verdict.WARNING and not each.figures for each in found)
    working = {each.what for each in found} - _SAFETY
    return causing(CACHE_NOT_WORKING, _first_refusal(found) if refuses else found, working)


def _first_refusal(found: list[Finding]) -> list[Finding]:
    """Return *found* without what follows from a write that was refused, which is an error."""
    told, rows = "", []
    for each in found:
        if each.verdict is Verdict.WARNING and not each.figures and each.what in {"write", *_MEASURED}:
            if each.what == "write":
                told = each.measured
                rows.append(error("write", each.measured, each.remedy))
            elif told:
                rows.append(not_looked_at(each.what, "cache, write"))
            else:
                rows.append(each)
        else:
            rows.append(each)
    return rows


async def examined(
    settings: Settings, opened: Callable[[], Cache], *, term_seconds: float = LEASE_SECONDS
) -> list[Finding]:
    """Return what is found of the cache whose clients *opened* makes.

    Args:
        settings: Of the service.
        opened: Makes a client, which waits for an answer longer than that of the service.
        term_seconds: How long what is to end by itself is given.

    Raises:
        CacheFault: The first question was not answered.
    """
    asking = Asking(opened, settings.cache.namespace)
    speed, terms = CacheSpeed(asking, settings.cache.timeout_seconds), CacheTerms(asking, term_seconds)
    try:
        await _first(asking)
        measured = await _one_by_one(
            {"connect": speed.connect, "write": speed.write, "read back": speed.read_back, "largest": speed.largest}
        )
        # Side by side: each of them waits for time to pass.
        timed = {"age": terms.age, "lease": terms.lease, "expiry": terms.expiry}
        is_there = measured[-1].verdict is not Verdict.UNKNOWN
        measured += (
            await asyncio.gather(*(_found(what, measure) for what, measure in timed.items())) if is_there else []
        )
        return [*advice(settings, asking.one), *measured, *await _entries(settings, asking)]
    finally:
        await asking.close()


async def _first(asking: Asking) -> None:
    """Pass when the cache answers, be it that it refuses, as a full one does."""
    try:
        await asking.ask(asking.one.get(asking.key("entry")))
    except CacheFault as fault:
        if fault.reason is not Reason.ERROR:
            raise


async def _one_by_one(measures: dict[str, Measure]) -> list[Finding]:
    """Return what is found until the cache answers no more."""
    found: list[Finding] = []
    for what, measure in measures.items():
        try:
            found.append(await measure())
        except CacheFault as fault:
            found.append(failed(what, fault))
            if fault.reason in _AWAY:
                return [*found, Finding(what="the rest", measured="not measured", verdict=Verdict.UNKNOWN)]
    return found


async def _found(what: str, measure: Measure) -> Finding:
    try:
        return await measure()
    except CacheFault as fault:
        return failed(what, fault)


async def _entries(settings: Settings, asking: Asking) -> list[Finding]:
    """Return what lies under the key of each source, which is only looked at."""
    if asking.one.name == "memory":
        return []
    sealer, found = sealer_of(settings), []
    for source in built_in_sources(settings):
        name = told_as(source)
        await source.close()
        what = f"entry of {source.name}"
        found.append(await _found(what, partial(_entry, what, name, sealer, asking)))
    return found


async def _entry(what: str, name: str, sealer: Sealer, asking: Asking) -> Finding:
    held = await asking.ask(asking.one.get(sealer.key(name)))
    if held is None:
        return Finding(what=what, measured="none: nobody has told lately")
    words = f"{len(held.value):,} bytes, put {held.age_seconds:.1f} s ago"
    try:
        record = sealer.open(name, held.value, age_seconds=held.age_seconds, now=time.time())
    except RefusedError as error:
        return warning(what, f"{words}, not believed ({error.refusal}): {error}", _REFUSALS[error.refusal])
    if record.fault is not None:
        return note(what, f"{words}: the source cannot be read, {record.fault}", "see tasker-health doctor sources")
    return Finding(what=what, measured=f"{words}, of facts read {held.age_seconds + record.age_seconds:.1f} s ago")
