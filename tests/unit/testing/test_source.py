"""The fixed source: the facts, the fault and the pace that the test says."""

from __future__ import annotations

import asyncio
import time

import pytest

from tasker_health import Health
from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.testing import FixedSource, HealthClient, facts_of, settings_of

STATUS = "/tasker/health/status"


@pytest.fixture
def source():
    """A source of two tasks."""
    return FixedSource(facts_of(pending=1, running=1, completed=0, failed=0), name="shop")


@pytest.fixture
def client(source):
    """Asks a health whose only source it is, without a cache."""
    health = Health(settings_of(health={"cache_duration_seconds": 0, "status_timeout_seconds": 0.2}))
    health.add_source(source)
    with HealthClient(health) as client:
        yield client


def test_the_facts_are_those_of_the_test(client, source):
    """Also when they change; each question reads."""
    assert client.get(STATUS).json()["sources"]["shop"]["system_health"]["total_tasks"] == 2
    source.facts = facts_of(blocked=1)
    body = client.get(STATUS).json()
    assert (body["status"], body["reasons"]) == ("degraded", ["blocked_tasks"])
    assert source.reads == 2


def test_a_fault_makes_the_status_unhealthy(client, source):
    """With its reason; without it the facts are there again."""
    source.fault = Reason.REFUSED
    response = client.get(STATUS)
    assert (response.status_code, response.json()["sources"]["shop"]["reason"]) == (503, "refused")
    assert "the test says so" not in response.text
    source.fault = None
    assert client.get(STATUS).status_code == 200


def test_one_that_hangs_costs_its_deadline_only(client, source):
    """And answers once it is released."""
    source.hang()
    began = time.monotonic()
    assert client.get(STATUS).json()["sources"]["shop"]["reason"] == "timeout"
    assert time.monotonic() - began < 5
    source.release()
    assert client.get(STATUS).status_code == 200


def test_a_delay_is_real_time(source):
    """And a fault comes after it."""
    source.delay_seconds = 0.05
    began = time.monotonic()
    asyncio.run(source.read(1))
    assert time.monotonic() - began >= 0.05
    source.fault = Reason.MISSING
    with pytest.raises(SourceFault, match="the test says so"):
        asyncio.run(source.read(1))


def test_closing_is_counted(client, source):
    """By the end of the client."""
    client.get(STATUS)
    assert source.closed == 0
    client.close()
    assert source.closed == 1


def test_a_fact_that_there_is_not_is_refused():
    """As a wrong argument is."""
    with pytest.raises(TypeError):
        facts_of(penidng=1)
