"""Orders, served by Litestar, with health endpoints as a plugin."""

from __future__ import annotations

from litestar import Litestar, get

from tasker_health import CheckFailed, Health
from tasker_health.frameworks.litestar import HealthPlugin

SHELVES = {"bread": 3, "butter": 1}

health = Health()


@get("/orders")
async def orders() -> list[dict[str, object]]:
    """Return the orders of today."""
    return [{"number": 1, "item": "bread"}]


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app = Litestar([orders], plugins=[HealthPlugin(health)])
