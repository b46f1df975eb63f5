"""The page of monitoring, and a snapshot of a health of which everything is known: what its tables are held against."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from msgspec.structs import replace

from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.cache.memory import MemoryCache
from tasker_health.counters import AccessCounts, DeliveryCounts, Vitals
from tasker_health.exporters import Snapshot, take_snapshot
from tasker_health.health import Health
from tasker_health.model import CountingMethod, WorkerCounts, WorkerSummary
from tasker_health.work import Cause, QueueFlow

PAGE = (Path(__file__).parents[1] / "docs" / "monitoring.md").read_text()

_KNOWN_BY_SOME = {
    "steps_by_state": {"complete": 7},
    "groups": {"shop": {"pending": 3}},
    "oldest_pending_seconds": 90,
    "drift": 0,
    "method": CountingMethod.TALLY,
    "causes": {Cause.WORKER_DEAD: 2},
    "flow": QueueFlow(arrived=60, ended=120, ready=10, oldest_ready_seconds=30),
}


class _FleetCache(MemoryCache):
    name = "redis"


def section(heading: str) -> str:
    """Return what stands under *heading*."""
    return re.split(r"^## ", PAGE.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def full_snapshot() -> Snapshot:
    """Return a snapshot in which there is every figure."""

    async def scene() -> Snapshot:
        slos = {"orders": {"objective": 0.99, "window_days": 3}}
        clock = FakeClock()
        health = Health(settings_of(slos=slos), clock=clock, cache=_FleetCache())
        now = int(clock.now() // 60)
        health._objectives.all[0].ledger.see(dict.fromkeys(range(now - 3 * 1440, now), (1, 0)))
        health.add_source(FakeSource(facts_of(**_KNOWN_BY_SOME)))
        health.check("well")(lambda: None)
        health.monitor.vitals = lambda: Vitals(0.25, 2)
        snapshot = await take_snapshot(health.monitor, AccessCounts(), {"datadog": DeliveryCounts()})
        await health.stop()
        workers = WorkerSummary(alive=4, dead=1, by_engine={"celery": WorkerCounts(alive=4, dead=1)})
        return replace(snapshot, status=replace(snapshot.status, workers=workers))

    return asyncio.run(scene())
