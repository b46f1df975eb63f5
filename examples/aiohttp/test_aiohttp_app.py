"""The service, asked by aiohttp's own test client."""

from __future__ import annotations

import asyncio

from aiohttp.test_utils import TestClient, TestServer
from app import SHELVES, application

from tasker_health.testing import assert_alive, assert_not_ready, assert_ready


def test_it_serves_orders_and_is_ready():
    """The health endpoints stand beside the service's own."""

    async def run():
        async with TestClient(TestServer(application())) as client:
            assert await (await client.get("/orders")).json() == [{"number": 1, "item": "bread"}]
            await assert_alive(client)
            await assert_ready(client)

    asyncio.run(run())


def test_it_is_ready_without_stock(monkeypatch):
    """The check is optional: it is reported and decides nothing."""
    for item in SHELVES:
        monkeypatch.setitem(SHELVES, item, 0)

    async def run():
        async with TestClient(TestServer(application())) as client:
            body = await assert_ready(client)
            assert body["degraded_checks"] == ["stock"]
            assert (await assert_not_ready(client, "stock"))["checks"]["stock"]["reason"] == "missing"

    asyncio.run(run())
