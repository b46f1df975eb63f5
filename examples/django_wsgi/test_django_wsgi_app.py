"""The service, asked by Django's own test client."""

from __future__ import annotations

import os

import django
import pytest

from tasker_health.testing import assert_alive, assert_not_ready, assert_ready

os.environ["DJANGO_SETTINGS_MODULE"] = "orders.settings"
django.setup()

from django.test import Client  # noqa: E402 -- Django is set up first
from orders.health import SHELVES, health  # noqa: E402


@pytest.fixture
def client():
    """The service; what the health endpoints have begun is ended after the test."""
    yield Client()
    health.wsgi().stop()


def test_it_serves_orders_and_is_ready(client):
    """The health endpoints stand beside the service's own."""
    assert client.get("/orders").json() == [{"number": 1, "item": "bread"}]
    assert_alive(client)
    body = assert_ready(client)
    assert set(body["checks"]) == {"configuration", "stock", "cache_default", "system"}


def test_it_is_ready_without_stock(client, monkeypatch):
    """The check is optional: it is reported and decides nothing."""
    for item in SHELVES:
        monkeypatch.setitem(SHELVES, item, 0)
    body = assert_ready(client)
    assert body["degraded_checks"] == ["stock"]
    assert assert_not_ready(client, "stock")["checks"]["stock"]["reason"] == "missing"
