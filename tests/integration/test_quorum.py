"""Replicas on a real cache whose database is away for all of them."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

from fakes import settings_of
from server import free_port
from tasker_health.health import Health

PATIENCE_SECONDS = 60


def asked(url):
    """Return code and body of readiness, as a prober sees them."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_database_that_is_away_for_all_leaves_the_service_its_endpoints(redis_server):
    """Alone a replica is not ready; with a second one that fails alike both are, by the guard too, and say why."""

    def replica():
        return Health(
            settings_of(
                database={"url": f"postgresql://shop@127.0.0.1:{free_port()}/shop"},
                cache={"url": redis_server.url},
                health={"readiness_quorum": 0.5, "readiness_max_age_seconds": 0.2},
                guard={"enabled": True, "port": 0},
            )
        )

    async def scene():
        one, two = replica(), replica()
        url = one.open_guard(alone=True)
        await one.start()
        try:
            await until(one, url, ready=False)
            await two.start()
            await until(one, url, ready=True)
            report = await one.ready()
            assert (report.ready, report.degraded_checks) == (True, ["database"])
            assert report.checks["database"].reason == "refused"
            await two.stop()
            await until(one, url, ready=False)
        finally:
            await one.stop()
            await two.stop()

    asyncio.run(scene())


async def until(health, url, *, ready):
    """Wait until the application and its guard both say so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            code, body = await asyncio.to_thread(asked, url)
            if (await health.ready()).ready is ready and (code == 200) is ready is body["ready"]:
                return
            await asyncio.sleep(0.05)
