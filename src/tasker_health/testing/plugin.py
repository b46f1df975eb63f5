"""Fixtures of pytest, found by its entry point: every one begins with `tasker_`.

This is loaded in every run of pytest where tasker-health is installed. So nothing but pytest is imported before a
fixture is used, and there are no options, markers and hooks.

No fixture needs an event loop. `tasker_health` belongs to the loop on which it is asked first: that of `tasker_client`,
that of the framework's test client, or that of an async test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tasker_health.access import BaseCoordinator
    from tasker_health.health import Health
    from tasker_health.settings import Settings
    from tasker_health.testing.access import FakeAuthenticator
    from tasker_health.testing.checks import FakeCheck
    from tasker_health.testing.client import HealthClient
    from tasker_health.testing.clock import FakeClock
    from tasker_health.testing.database import HangingDatabase
    from tasker_health.testing.source import FixedSource
    from tasker_health.testing.sqlite import HangingSqlite


@pytest.fixture
def tasker_settings() -> Settings:
    """The settings of `tasker_health`: the defaults, with every answer made anew. Override it with your own."""
    from tasker_health.testing.configuration import settings_of

    return settings_of(health={"readiness_max_age_seconds": 0, "cache_duration_seconds": 0})


@pytest.fixture
def tasker_clock() -> FakeClock:
    """The clock of `tasker_health`; it stands still until it is moved."""
    from tasker_health.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def tasker_source() -> FixedSource:
    """The one source of `tasker_health`: a healthy engine until the test says otherwise."""
    from tasker_health.testing.source import FixedSource

    return FixedSource()


@pytest.fixture
def tasker_checks() -> dict[str, FakeCheck]:
    """The checks of `tasker_health` beside the built-in ones, by name: `critical` and `optional`, both well."""
    from tasker_health.testing.checks import FakeCheck

    checks = [FakeCheck("critical"), FakeCheck("optional", critical=False)]
    return {check.name: check for check in checks}


@pytest.fixture
def tasker_authenticator() -> FakeAuthenticator:
    """Who asks `tasker_health`: nobody known until the test says who."""
    from tasker_health.testing.access import FakeAuthenticator

    return FakeAuthenticator()


@pytest.fixture
def tasker_coordinator_class() -> type[BaseCoordinator]:
    """What `tasker_health` asks whether a user may: it permits what the user's permissions say."""
    from tasker_health.testing.access import FakeCoordinator

    return FakeCoordinator


@pytest.fixture
def tasker_health(
    tasker_settings: Settings,
    tasker_clock: FakeClock,
    tasker_source: FixedSource,
    tasker_checks: dict[str, FakeCheck],
    tasker_authenticator: FakeAuthenticator,
    tasker_coordinator_class: type[BaseCoordinator],
) -> Iterator[Health]:
    """A `Health` made of the other fixtures; stopped at the end, on whatever event loop it was asked."""
    from tasker_health.health import Health

    health = Health(
        tasker_settings,
        clock=tasker_clock,
        authenticator=tasker_authenticator,
        coordinator_class=tasker_coordinator_class,
    )
    for check in tasker_checks.values():
        health.add_check(check)
    health.add_source(tasker_source)
    yield health
    _stop(health)


@pytest.fixture
def tasker_client(tasker_health: Health) -> Iterator[HealthClient]:
    """Asks `tasker_health` in process: `tasker_client.get("/tasker/health/ready")`."""
    from tasker_health.testing.client import HealthClient

    with HealthClient(tasker_health) as client:
        yield client


@pytest.fixture
def tasker_database_url() -> str | None:
    """The URL of a real database for `tasker_database`; `None`: it makes a file of SQLite. Override it with yours."""
    return None


@pytest.fixture
def tasker_database(tasker_database_url: str | None, tmp_path: Path) -> Iterator[HangingDatabase | HangingSqlite]:
    """A database that hangs on demand; give the service under test its `url`."""
    from tasker_health.testing.database import HangingDatabase
    from tasker_health.testing.sqlite import HangingSqlite

    if tasker_database_url is None:
        made: HangingDatabase | HangingSqlite = HangingSqlite(tmp_path / "tasker_database.sqlite")
    else:
        made = HangingDatabase(tasker_database_url)
    with made as database:
        yield database


def _stop(health: Health) -> None:
    """Stop *health*, in a thread: where a loop runs in this one, nothing can be awaited from here."""
    from tasker_health.loop_thread import GOODBYE_SECONDS, LoopThread

    thread = LoopThread()
    try:
        thread.call(health.stop, GOODBYE_SECONDS, GOODBYE_SECONDS)
    finally:
        thread.end()
