"""Orders, served by Starlette, with health endpoints before all middleware."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

health = Health()


async def orders(_request: Request) -> JSONResponse:
    """Return the orders of today."""
    return JSONResponse([{"number": 1, "item": "bread"}])


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app = health.asgi(Starlette(routes=[Route("/orders", orders)]))
