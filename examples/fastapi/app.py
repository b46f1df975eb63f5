"""Orders, served by FastAPI, with health endpoints before all middleware."""

from __future__ import annotations

from fastapi import FastAPI

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

service = FastAPI(title="Orders")
health = Health()


@service.get("/orders")
async def orders() -> list[dict[str, object]]:
    """Return the orders of today."""
    return [{"number": 1, "item": "bread"}]


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app = health.asgi(service)
