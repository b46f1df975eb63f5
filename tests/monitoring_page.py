"""The page of monitoring, and a snapshot of a health of which everything is known: what its tables are held against."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.cache.memory import MemoryCache
from tasker_health.counters import AccessCounts, DeliveryCounts, Vitals
from tasker_health.exporters import Snapshot, take_snapshot
from tasker_health.health import Health
from tasker_health.model import CountingMethod

PAGE = (Path(__file__).parents[1] / "docs" / "monitoring.md").read_text()

_KNOWN_BY_SOME = {
    "steps_by_state": {"complete": 7},
    "groups": {"shop": {"pending": 3}},
    "oldest_pending_seconds": 90,
    "drift": 0,
    "method": CountingMethod.TALLY,
}


class _FleetCache(MemoryCache):
    name = "redis"


def section(heading: str) -> str:
    """Return what stands under *heading*."""
    return re.split(r"^## ", PAGE.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def full_snapshot() -> Snapshot:
    """Return a snapshot in which there is every figure."""

    async def scene() -> Snapshot:
        health = Health(settings_of(), clock=FakeClock(), cache=_FleetCache())
        health.add_source(FakeSource(facts_of(**_KNOWN_BY_SOME)))
        health.check("well")(lambda: None)
        health.monitor.vitals = lambda: Vitals(0.25, 2)
        snapshot = await take_snapshot(health.monitor, AccessCounts(), {"datadog": DeliveryCounts()})
        await health.stop()
        return snapshot

    return asyncio.run(scene())
