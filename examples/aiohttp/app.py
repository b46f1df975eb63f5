"""Orders, served by aiohttp, with health endpoints before all middleware."""

from __future__ import annotations

from aiohttp import web

from tasker_health import CheckFailed, Health
from tasker_health.frameworks.aiohttp import setup

SHELVES = {"bread": 3, "butter": 1}

health = Health()


async def orders(_request: web.Request) -> web.Response:
    """Return the orders of today."""
    return web.json_response([{"number": 1, "item": "bread"}])


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


def application(_words: list[str] | None = None) -> web.Application:
    """Return the service; `python -m aiohttp.web` hands over the words of its command line."""
    app = web.Application()
    app.router.add_get("/orders", orders)
    setup(app, health)
    return app
