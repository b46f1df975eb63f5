"""A user's tests, as one writes them with types: the kit, its fixtures, and every kind of client."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, assert_type

import httpx
import pytest

from tasker_health import BaseCoordinator, Health, Reason, Settings
from tasker_health.access import Authenticator, User
from tasker_health.checks import Check
from tasker_health.clock import Clock
from tasker_health.model import Facts
from tasker_health.sources import Source
from tasker_health.testing import (
    FakeAuthenticator,
    FakeCheck,
    FakeClock,
    FakeCoordinator,
    FixedSource,
    HangingDatabase,
    HangingSqlite,
    HealthClient,
    admin_user,
    assert_alive,
    assert_healthy,
    assert_not_ready,
    assert_ready,
    facts_of,
    settings_of,
    user_with_permission,
)

# The fakes are what they stand for.
clock: Clock = FakeClock()
check: Check = FakeCheck("database", critical=False, timeout_seconds=0.1, groups=("stores",))
source: Source = FixedSource(facts_of(blocked=1), name="queue")
authenticator: Authenticator = FakeAuthenticator(admin_user(), users={"Bearer alice": admin_user()}, header="x-user")
coordinator: type[BaseCoordinator] = FakeCoordinator
health = Health(
    settings_of(server={"port": 0}), clock=FakeClock(), authenticator=authenticator, coordinator_class=FakeCoordinator
)


@pytest.fixture
def tasker_settings() -> Settings:
    return settings_of(auth={"authorization_enabled": True})


def test_sync(
    tasker_health: Health,
    tasker_client: HealthClient,
    tasker_checks: dict[str, FakeCheck],
    tasker_clock: FakeClock,
    tasker_source: FixedSource,
    tasker_authenticator: FakeAuthenticator,
    tasker_coordinator_class: type[BaseCoordinator],
    tasker_database: HangingDatabase | HangingSqlite,
) -> None:
    assert_type(assert_ready(tasker_client), dict[str, Any])
    tasker_checks["critical"].fail("refused", "for the log")
    tasker_checks["critical"].degrade(Reason.PENDING)
    tasker_checks["critical"].succeed()
    tasker_checks["optional"].hang()
    tasker_checks["optional"].release()
    assert_type(tasker_checks["optional"].calls, int)
    assert_type(assert_not_ready(tasker_client, "critical", failed=["critical"]), dict[str, Any])
    assert_type(assert_alive(tasker_client, prefix="/own"), dict[str, Any])
    assert_type(assert_healthy(tasker_client, headers={"Authorization": "Bearer alice"}), dict[str, Any])
    response = tasker_client.get("/tasker/health/ready", {"Accept": "*/*"})
    assert_type(response.status_code, int)
    assert_type(response.content, bytes)
    assert_type(response.text, str)
    tasker_clock.move(15)
    tasker_source.facts = facts_of(blocked=3)
    tasker_source.fault = Reason.MISSING
    tasker_source.delay_seconds = 0.1
    assert_type(tasker_source.facts, Facts)
    assert_type(tasker_source.reads, int)
    tasker_authenticator.user = user_with_permission("tasker.health_status:index")
    tasker_authenticator.refuses = True
    assert_type(tasker_authenticator.user, User)
    assert_type(tasker_database.url, str)
    tasker_database.hang()
    tasker_database.release()
    assert_type(tasker_coordinator_class(None), BaseCoordinator)


def test_clients(tmp_path: Path) -> None:
    with httpx.Client(transport=httpx.WSGITransport(health.wsgi())) as client:
        assert_type(assert_ready(client), dict[str, Any])
    with HealthClient(health) as own, HangingSqlite(tmp_path / "orders.sqlite") as file:
        assert_type(own, HealthClient)
        assert_type(file.path, Path)
    with HangingDatabase("postgresql://localhost/orders") as database:
        database.refuse()
        database.reset()
        assert_type(database.url, str)


async def test_async() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(health.asgi())) as client:
        later = assert_ready(client)
        awaited: Coroutine[Any, Any, dict[str, Any]] = later
        await awaited
        assert_type(await assert_ready(client), dict[str, Any])
        assert_type(await assert_not_ready(client, failed=["database"]), dict[str, Any])
        assert_type(await assert_alive(client), dict[str, Any])
        assert_type(await assert_healthy(client), dict[str, Any])
