"""Failed attempts: told, slowed and bounded, and nobody honest is touched."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest

from tasker_health.access import limiter as limiter_module
from tasker_health.access.limiter import Limiter
from tasker_health.request import Request


@pytest.fixture
def naps(monkeypatch):
    """How long the limiter wanted to wait, without waiting."""
    waited = []

    async def nap(seconds):
        waited.append(seconds)

    monkeypatch.setattr(limiter_module.asyncio, "sleep", nap)
    return waited


def request_from(address, *forwarded, path="/tasker/health/status"):
    """Return a request from *address*, with one header of addresses for each of *forwarded*."""
    headers = [(b"authorization", b"Bearer canary"), *((b"x-forwarded-for", each.encode()) for each in forwarded)]
    return Request("GET", path, headers, address)


def fail(limiter, *requests):
    """Have all *requests* fail, in turn."""

    async def run():
        for request in requests:
            await limiter.failed(request)

    asyncio.run(run())


def test_the_first_failures_are_answered_at_once_and_further_ones_later_and_later(naps):
    """Beyond the limit the wait doubles, up to two seconds."""
    fail(Limiter(3), *[request_from("192.0.2.1")] * 12)
    assert naps == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0]


def test_addresses_do_not_pay_for_each_other(naps):
    """But the addresses of one IPv6 network are one caller's."""
    limiter = Limiter(1)
    fail(limiter, *(request_from(f"192.0.2.{n}") for n in range(50)))
    assert naps == []
    fail(limiter, *(request_from(f"2001:db8:0:1::{n}") for n in range(1, 4)))
    assert naps == [0.1, 0.2]


def test_after_a_minute_it_is_forgotten(naps, monkeypatch):
    """Who mistyped yesterday does not wait today."""
    limiter = Limiter(1)
    now = 1000.0
    monkeypatch.setattr(limiter_module.time, "monotonic", lambda: now)
    fail(limiter, *[request_from("192.0.2.1")] * 3)
    assert len(naps) == 2
    now += 60
    fail(limiter, request_from("192.0.2.1"))
    assert len(naps) == 2


def test_what_it_keeps_is_bounded(naps):
    """Of a flood from everywhere the latest addresses are known."""
    limiter = Limiter(1)
    fail(limiter, *(request_from(f"10.{n >> 8}.{n & 255}.1") for n in range(5000)))
    assert len(limiter._failures) == 4096


def test_no_more_than_some_wait_at_once():
    """The others are answered at once: what waits is held in memory."""
    limiter = Limiter(1)

    async def run():
        tasks = [asyncio.create_task(limiter.failed(request_from("192.0.2.1"))) for _ in range(600)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done = sum(task.done() for task in tasks)
        waiting = limiter._waiting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done, waiting, limiter._waiting

    assert asyncio.run(run()) == (600 - 256, 256, 0)


def test_the_log_tells_the_address_and_no_secret(naps, caplog):
    """One line for each failure up to the limit, then one that says so; line breaks in a path are written out."""
    fail(Limiter(2), *[request_from("192.0.2.7", path="/tasker/health/status\nforged")] * 9)
    assert [record.getMessage() for record in caplog.records] == [
        *["authentication failed: GET /tasker/health/status\\nforged from 192.0.2.7"] * 2,
        "authentication fails again and again from 192.0.2.7: its failures are answered later",
    ]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], "an unknown address"),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_alone(peer, forwarded, expected):
    """The last address that no trusted proxy has: what stands before it, anybody may have written."""
    limiter = Limiter(1, (ip_network("10.0.0.0/8"),))
    assert limiter.address(request_from(peer, *forwarded)) == expected
