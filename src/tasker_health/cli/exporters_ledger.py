"""What waits for those who are told of alerts, and what was dropped, as the ledger in the shared cache has it."""

from __future__ import annotations

from tasker_health.cli.findings import Finding, note
from tasker_health.settings import Settings

_METRICS = "tasker_health_deliveries_pending and _dropped_total"


async def kept(settings: Settings) -> list[Finding]:
    """Return what is known of the alerts that wait."""
    if settings.cache.url.get_secret_value().startswith("memory:"):
        remedy = f"what waits is lost at a restart; set cache.url to keep it. /metrics tells it: {_METRICS}"
        return [note("waiting alerts", "known to each process alone: cache.url is memory", remedy)]
    return []
