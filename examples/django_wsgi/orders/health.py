"""The health of the service, which `TASKER_HEALTH` in the settings names."""

from __future__ import annotations

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

health = Health()


@health.check("stock", critical=False)
def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")
