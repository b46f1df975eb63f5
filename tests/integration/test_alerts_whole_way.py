"""Alerts the whole way: services that run, a cache that they share, and a receiver with the rules of PagerDuty."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from events_receiver import Answer, EventsReceiver
from fakes import FakeSource, settings_of
from loop import in_loop
from served import served
from server import wait_until
from tasker_health.health import Health
from tasker_health.model import Reason

PACE = {"interval_seconds": 0.3, "for_seconds": 0, "clear_seconds": 0.5, "timeout_seconds": 20}


@pytest.fixture
def receiver():
    """A receiver of this test."""
    with EventsReceiver() as one:
        yield one


async def until(condition, what):
    """Wait until *condition* is true."""
    ends_at = asyncio.get_running_loop().time() + 60
    while not condition():
        assert asyncio.get_running_loop().time() < ends_at, what
        await asyncio.sleep(0.02)


@in_loop
async def test_twenty_replicas_are_one_incident(redis_server, receiver):
    """Twenty services of one fleet see a source that cannot be read: one incident, with one end when it can."""
    pagerduty = {"routing_key": receiver.routing_key, "url": receiver.url, "ca_file": receiver.ca_file}
    settings = settings_of(
        cache={"url": redis_server.url, "timeout_seconds": 20},
        alerts={**PACE, "pagerduty": pagerduty},
        health={"cache_duration_seconds": 0.1, "status_max_stale_seconds": 0.2},
    )
    source = FakeSource()
    source.fault = Reason.UNREACHABLE
    fleet = [Health(settings) for _ in range(20)]
    for health in fleet:
        health.add_source(source)
    try:
        await asyncio.gather(*(health.start() for health in fleet))
        await until(lambda: receiver.incidents, "the incident begins")
        source.fault = None
        await until(lambda: receiver.incidents and not receiver.open_incidents, "the incident ends")
    finally:
        await asyncio.gather(*(health.stop() for health in fleet))
    assert len({incident.dedup_key for incident in receiver.incidents}) == 1
    assert [incident.state for incident in receiver.incidents] == ["resolved"]
    assert receiver.refused == []


def test_a_page_survives_a_restart_and_an_endpoint_that_is_away(redis_server, receiver):
    """It begins while PagerDuty is away, all processes end, another one starts: one incident, and its end."""
    with EventsReceiver() as shop, contextlib.ExitStack() as fleet:
        variables = {
            "TASKER_GUARD__ENABLED": "false",
            "TASKER_CACHE__URL": redis_server.url,
            "TASKER_CHECKS__SHOP__KIND": "http",
            "TASKER_CHECKS__SHOP__URL": f"{shop.url}/shop",
            "TASKER_CHECKS__SHOP__CA_FILE": shop.ca_file,
            "TASKER_CHECKS__SHOP__CRITICAL": "true",
            "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "20",
            "TASKER_ALERTS__PAGERDUTY__ROUTING_KEY": receiver.routing_key,
            "TASKER_ALERTS__PAGERDUTY__URL": receiver.url,
            "TASKER_ALERTS__PAGERDUTY__CA_FILE": receiver.ca_file,
            **{f"TASKER_ALERTS__{name.upper()}": str(value) for name, value in PACE.items()},
        }
        receiver.stop()
        shop.always = Answer(500)
        servers = [fleet.enter_context(served(**variables)) for _ in range(3)]
        wait_until(lambda: any("is tried again" in each.log for each in servers), "somebody has tried to page")
        fleet.close()
        assert receiver.incidents == []
        receiver.start()
        fleet.enter_context(served(**variables))
        wait_until(lambda: receiver.incidents, "somebody is paged")
        shop.always = Answer(200)
        wait_until(lambda: not receiver.open_incidents, "it is over")
        fleet.close()
    assert [(each.dedup_key, each.state) for each in receiver.incidents] == [
        (receiver.incidents[0].dedup_key, "resolved")
    ]
    assert "shop" in receiver.incidents[0].dedup_key
    assert receiver.refused == []
