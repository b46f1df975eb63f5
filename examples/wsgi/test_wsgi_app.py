"""The service, asked by httpx without a server."""

from __future__ import annotations

import httpx
import pytest
from app import SHELVES, app

from tasker_health.testing import assert_alive, assert_not_ready, assert_ready


@pytest.fixture
def client():
    """The service; what the health endpoints have begun is ended after the test."""
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://orders") as client:
        yield client
    app.stop()


def test_it_serves_orders_and_is_ready(client):
    """The health endpoints stand before the service's own."""
    assert client.get("/orders").json() == [{"number": 1, "item": "bread"}]
    assert_alive(client)
    assert_ready(client)


def test_it_is_ready_without_stock(client, monkeypatch):
    """The check is optional: it is reported and decides nothing."""
    for item in SHELVES:
        monkeypatch.setitem(SHELVES, item, 0)
    body = assert_ready(client)
    assert body["degraded_checks"] == ["stock"]
    assert assert_not_ready(client, "stock")["checks"]["stock"]["reason"] == "missing"
