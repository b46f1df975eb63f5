"""What waits for those who are told of alerts, and what was dropped, as the ledger in the shared cache has it."""

from __future__ import annotations

from tasker_health.alerts.ledger import NAME, Ledger, is_believable
from tasker_health.cache.chosen import chosen_cache, shared_cache
from tasker_health.cache.document import Loaded
from tasker_health.cli.doctor.findings import Finding, Verdict, note, warning
from tasker_health.clock import SystemClock
from tasker_health.settings import Settings

_WHAT = "waiting alerts"
_METRICS = "tasker_health_deliveries_pending and tasker_health_deliveries_dropped_total"


async def kept(settings: Settings) -> list[Finding]:
    """Return what is known of the alerts that wait.

    Raises:
        ConfigurationError: The cache of *settings* cannot be one.
    """
    if settings.cache.url.get_secret_value().startswith("memory:"):
        remedy = f"what waits is lost at a restart; set cache.url to keep it. /metrics tells of it: {_METRICS}"
        return [note(_WHAT, "known to each process alone: cache.url is memory", remedy)]
    loaded = await _loaded(settings)
    if not loaded.is_answered:
        return [warning(_WHAT, "the cache does not answer", "see tasker-health doctor cache")]
    if loaded.document is None:
        return [note(_WHAT, "no ledger lies in the cache", "it is written as soon as a process that tells is started")]
    names = (*(["pagerduty"] if settings.alerts.pagerduty.routing_key else []), *settings.alerts.webhooks)
    found = [_open(loaded.document, loaded.age_seconds)]
    return found + [each for name in names for each in _of_channel(loaded.document, name, loaded.age_seconds)]


async def _loaded(settings: Settings) -> Loaded[Ledger]:
    clock = SystemClock()
    shared = shared_cache(settings, chosen_cache(settings, clock), clock)
    try:
        return await shared.document(NAME, Ledger).load(is_believable)
    finally:
        await shared.close()


def _open(ledger: Ledger, age_seconds: float) -> Finding:
    rules = sorted(rule for rule, each in ledger.incidents.items() if each.is_open)
    words = ", ".join(rules) or "none"
    return Finding(what="open alerts", measured=f"{words}; written {age_seconds:.0f} s ago")


def _of_channel(ledger: Ledger, name: str, age_seconds: float) -> list[Finding]:
    """Return what waits for the channel *name*, and what was dropped for it."""
    queue, dropped = ledger.waiting.get(name, []), ledger.dropped.get(name, {})
    figures = {"waiting": float(len(queue)), **{f"dropped_{why}": float(count) for why, count in dropped.items()}}
    lost = ", ".join(f"{count} {why}" for why, count in sorted(dropped.items()))
    words = f"{len(queue)} wait, {f'dropped: {lost}' if lost else 'none was dropped'}"
    what = f"alerts to {name}"
    if not queue:
        verdict, remedy = (Verdict.NOTE, "what was dropped is told by the log, too") if lost else (Verdict.OK, "")
        return [Finding(what=what, measured=words, verdict=verdict, remedy=remedy, figures=figures)]
    # In the ledger a time is relative to when it was written.
    waited = max(0.0, age_seconds - min(each.first_at for each in queue))
    attempts = max(each.attempts for each in queue)
    words = f"{words}; the oldest for {waited:.0f} s, tried {attempts} times"
    if not attempts:
        return [note(what, words, "they are on their way")]
    return [warning(what, words, "see whether it can be reached (above), and the log", figures)]
