"""Asking a health for its metrics, and reading what it says."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families

from fakes import FakeClock, FakeSource, settings_of
from tasker_health.health import Health

PATH = "/tasker/metrics"


def health_of(source=None, arguments=None, **settings):
    """Return a health with one source and the *settings* of the metrics."""
    groups = {"exporters": {"prometheus": settings}}
    health = Health(settings_of(**groups), clock=FakeClock(), **(arguments or {}))
    health.add_source(source or FakeSource())
    return health


async def ask(health, method="GET", headers=None, path=PATH, app=None):
    """Return the response of *health* to one request."""
    transport = httpx.ASGITransport(health.asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
        return await client.request(method, path, headers=headers)


def answer(health, *arguments, **named):
    """Return the response of *health* to one request, in a loop of its own."""
    return asyncio.run(ask(health, *arguments, **named))


def samples(response):
    """Return the samples of *response* by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
