"""The service, asked by Quart's own test client."""

from __future__ import annotations

import asyncio

from app import SHELVES, app, health

from tasker_health.testing import assert_alive, assert_not_ready, assert_ready


def test_it_serves_orders_and_is_ready():
    """The health endpoints stand beside the service's own."""

    async def run():
        client = app.test_client()
        assert await (await client.get("/orders")).get_json() == [{"number": 1, "item": "bread"}]
        await assert_alive(client)
        await assert_ready(client)
        await health.stop()

    asyncio.run(run())


def test_it_is_ready_without_stock(monkeypatch):
    """The check is optional: it is reported and decides nothing."""
    for item in SHELVES:
        monkeypatch.setitem(SHELVES, item, 0)

    async def run():
        client = app.test_client()
        body = await assert_ready(client)
        assert body["degraded_checks"] == ["stock"]
        assert (await assert_not_ready(client, "stock"))["checks"]["stock"]["reason"] == "missing"
        await health.stop()

    asyncio.run(run())
