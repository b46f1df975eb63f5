"""What a served application has of ours: a health for each kind of answer, with a clock that stands still."""

from __future__ import annotations

import sys

from callers import ByHeader
from fakes import FakeClock, FakeSource, settings_of
from tasker_health.access import BaseCoordinator
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

OPEN, ASKING, FAILING = "/tasker", "/asking", "/deep/er"
"""Prefixes of those that stand side by side in one application."""

MOUNTED = "/mounted"
"""Where a further application with a health of its own is mounted, below which the prefix is `OPEN` again."""


class Coordinator(BaseCoordinator):
    """Permits who has the permission."""

    def authorized(self, resource, action, context):
        """Return whether the user may."""
        permission = f"{resource}:{action}"
        return self.user is not None and (self.user.tasker_admin() or self.user.has_tasker_permission(permission))


class Told(FakeSource):
    """A source that says when it is closed: whoever started has stopped it."""

    async def close(self):
        """Say so."""
        sys.stderr.write(f"closed {self.name}\n")
        sys.stderr.flush()


def healths():
    """Return those that stand side by side."""
    asks = {"authentication_enabled": True, "authorization_enabled": True}
    failing = health_at(FAILING)
    failing.check("broken")(_refused)
    return [
        health_at(OPEN),
        health_at(
            ASKING,
            {"auth": asks, "health": {"status_requires_authentication": True}},
            authenticator=ByHeader(),
            coordinator_class=Coordinator,
        ),
        failing,
    ]


def mounted_health():
    """Return the health of the application that is mounted."""
    return health_at(OPEN)


def health_at(prefix, groups=None, **options):
    health = Health(settings_of(server={"prefix": prefix}, **(groups or {})), clock=FakeClock(), **options)
    health.add_source(Told())
    health.check("well", groups=["mine"])(lambda: None)
    health.check("away", critical=False)(_refused)
    return health


async def _refused():
    raise CheckFailed(Reason.REFUSED, "detail")
