"""The service, asked by httpx without a server: Django's own test client begins behind the health endpoints."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
from orders.asgi import application
from orders.health import SHELVES, health

from tasker_health.testing import assert_alive, assert_not_ready, assert_ready


@asynccontextmanager
async def asking(host="127.0.0.1"):
    """Ask the service, and stop the health endpoints afterwards: httpx runs no lifespan."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url=f"http://{host}") as client:
        yield client
    await health.stop()


def test_it_serves_orders_and_is_ready():
    """The health endpoints stand before the service's own."""

    async def run():
        async with asking() as client:
            assert (await client.get("/orders")).json() == [{"number": 1, "item": "bread"}]
            await assert_alive(client)
            await assert_ready(client)

    asyncio.run(run())


def test_a_probe_needs_no_host_that_django_allows():
    """The kubelet asks by the address of the pod."""

    async def run():
        async with asking("10.1.2.3") as client:
            assert (await client.get("/orders")).status_code == 400
            await assert_alive(client)

    asyncio.run(run())


def test_it_is_ready_without_stock(monkeypatch):
    """The check is optional: it is reported and decides nothing."""
    for item in SHELVES:
        monkeypatch.setitem(SHELVES, item, 0)

    async def run():
        async with asking() as client:
            body = await assert_ready(client)
            assert body["degraded_checks"] == ["stock"]
            assert (await assert_not_ready(client, "stock"))["checks"]["stock"]["reason"] == "missing"

    asyncio.run(run())
