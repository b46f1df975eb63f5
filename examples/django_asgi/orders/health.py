"""The health of the service."""

from __future__ import annotations

from tasker_health import CheckFailed, Health
from tasker_health.frameworks.django import django_checks

SHELVES = {"bread": 3, "butter": 1}

health = Health()
django_checks(health, "system")  # what `manage.py check` says; with a database and a cache, leave the kinds out


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")
