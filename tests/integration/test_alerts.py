"""Alerts over the real caches: what waits survives the process that was to tell it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator

import pytest

import canary
from alerting_fleet import ALERTS, FakeChannel, Receiver, World
from contract.cache_backend import CacheBackend, redis_backend, valkey_backend
from contract.memcached_backend import MemcachedBackend
from contract.sql_backend import SqlOnPostgres, SqlOnSqlite
from fakes import settings_of, shared_of
from loop import in_loop
from tasker_health.alerts import Action
from tasker_health.alerts.alerting import Alerting
from tasker_health.cache.memory import MemoryCache
from tasker_health.clock import SystemClock
from tasker_health.errors import DeliveryError
from tasker_health.model import StatusReason, SystemStatus

BACKENDS: dict[str, Callable[[], CacheBackend]] = {
    "redis": redis_backend,
    "valkey": valkey_backend,
    "memcached": MemcachedBackend,
    "sql-postgresql": SqlOnPostgres,
    "sql-sqlite": SqlOnSqlite,
}
KEY = canary.secret("signing")
PATIENCE_SECONDS = 60


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[CacheBackend]:
    """A cache with a server of its own."""
    made = BACKENDS[request.param]()
    try:
        made.clear()
        yield made
    finally:
        made.end()


class One:
    """One process that alerts, in real time."""

    def __init__(self, cache, receiver, world, **alerts):
        self.settings = settings_of(
            alerts={**ALERTS, "interval_seconds": 0.1, "for_seconds": 0, "clear_seconds": 0, **alerts},
            health={"service_name": "shop"},
            cache={"timeout_seconds": 5},
        )
        self.cache = cache
        self.deliveries = {}
        self.channel = FakeChannel(receiver, "one")
        clock = SystemClock()
        shared = shared_of(cache, clock, key=KEY, timeout_seconds=5)
        self.alerting = Alerting(
            self.settings, [self.channel], shared, lambda: world.look("one", clock), self.deliveries, clock
        )

    async def __aenter__(self):
        self.alerting.start()
        return self

    async def __aexit__(self, *_error):
        await self.alerting.stop()
        await self.cache.close()


async def until(condition, what):
    """Wait until *condition* holds."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, f"not within {PATIENCE_SECONDS} s: {what}"
        await asyncio.sleep(0.01)


class _RealClock:
    running = property(lambda _self: time.monotonic())

    def monotonic(self):
        return time.monotonic()


@in_loop
async def test_a_page_that_waits_is_sent_by_the_next_process(backend):
    """Nobody takes it, the process ends; the next one sends it, and ends the incident when it is over."""
    receiver, world = Receiver(_RealClock()), World()
    receiver.seconds, receiver.fault = 0.0, DeliveryError("it is down")
    world.break_down()
    async with One(backend.cache(5), receiver, world) as first:
        await until(lambda: first.deliveries["pagerduty"].pending == 1, "the page waits")
        await until(lambda: receiver.attempts, "it is tried")
    assert receiver.log == []
    assert first.channel.closed == 1
    receiver.fault = None
    world.facts = {"status": SystemStatus.DEGRADED, "reasons": [StatusReason.NO_SOURCE]}
    async with One(backend.cache(5), receiver, world) as second:
        await until(lambda: receiver.log, "the page is sent by a process that has seen nothing itself")
        assert [told.event.action for told in receiver.log] == [Action.TRIGGER]
        assert second.deliveries["pagerduty"].results["sent"] == 1
        world.recover()
        await until(lambda: receiver.open == set(), "it is over")
    assert receiver.keys == {"tasker-health/shop/status"}


@in_loop
async def test_memory_alone_is_said_at_the_start(caplog):
    """One line, with the remedy; and alerts are told all the same."""
    receiver, world = Receiver(_RealClock()), World()
    receiver.seconds = 0.0
    world.break_down()
    async with One(MemoryCache(), receiver, world) as process:
        process.alerting.start()
        await until(lambda: receiver.open, "it is told")
        world.recover()
        await until(lambda: not receiver.open, "it is over")
    said = [record.getMessage() for record in caplog.records if "does not survive" in record.getMessage()]
    assert len(said) == 1
    assert "cache.url" in said[0]


@in_loop
async def test_it_can_be_started_again():
    """What it knew it knows again, and it tells of an incident once."""
    receiver, world = Receiver(_RealClock()), World()
    receiver.seconds = 0.0
    world.break_down()
    async with One(MemoryCache(), receiver, world) as process:
        await until(lambda: receiver.open, "it is told")
        await process.alerting.stop()
        await process.alerting.stop()
        world.recover()
        process.alerting.start()
        await until(lambda: not receiver.open, "it is over")
    assert receiver.count(Action.TRIGGER) == 1


def test_a_forked_process_is_one_of_its_own():
    """It begins anew, with leases of its own, and its end leaves those of its parent."""

    async def tell(process, receiver):
        async with process:
            await until(lambda: receiver.open, "it is told")

    receiver, world = Receiver(_RealClock()), World()
    receiver.seconds = 0.0
    world.break_down()
    process = One(MemoryCache(), receiver, world)
    asyncio.run(tell(process, receiver))
    before = process.alerting._document._holder
    child = os.fork()
    if child == 0:
        code = 1
        try:
            receiver.log.clear()
            process.alerting.forget()
            asyncio.run(tell(process, receiver))
            code = 0 if process.alerting._document._holder != before else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
