"""The testing kit: stand-ins that a test drives by hand, and assertions about what is answered.

Nothing here needs pytest; `tasker_health.testing.plugin`, which pytest finds by itself, makes fixtures of it.
Everything is imported at its first use, so that a run of pytest which needs none of it pays nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `tasker_health`: `typing` costs more than all of this
if TYPE_CHECKING:
    from typing import Any

    from tasker_health.testing.access import FakeAuthenticator, FakeCoordinator, admin_user, user_with_permission
    from tasker_health.testing.assertions import assert_alive, assert_healthy, assert_not_ready, assert_ready
    from tasker_health.testing.checks import FakeCheck
    from tasker_health.testing.client import HealthClient
    from tasker_health.testing.clock import FakeClock
    from tasker_health.testing.configuration import settings_of
    from tasker_health.testing.database import HangingDatabase
    from tasker_health.testing.facts import facts_of
    from tasker_health.testing.source import FixedSource
    from tasker_health.testing.sqlite import HangingSqlite

_HOMES = {
    "FakeAuthenticator": "access",
    "FakeCheck": "checks",
    "FakeClock": "clock",
    "FakeCoordinator": "access",
    "FixedSource": "source",
    "HangingDatabase": "database",
    "HangingSqlite": "sqlite",
    "HealthClient": "client",
    "admin_user": "access",
    "assert_alive": "assertions",
    "assert_healthy": "assertions",
    "assert_not_ready": "assertions",
    "assert_ready": "assertions",
    "facts_of": "facts",
    "settings_of": "configuration",
    "user_with_permission": "access",
}

__all__ = [
    "FakeAuthenticator",
    "FakeCheck",
    "FakeClock",
    "FakeCoordinator",
    "FixedSource",
    "HangingDatabase",
    "HangingSqlite",
    "HealthClient",
    "admin_user",
    "assert_alive",
    "assert_healthy",
    "assert_not_ready",
    "assert_ready",
    "facts_of",
    "settings_of",
    "user_with_permission",
]


def __getattr__(name: str) -> Any:
    """Import *name* from its home at first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
