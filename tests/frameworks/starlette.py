"""Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from frameworks.bare import wrapped_asgi
from frameworks.healths import MOUNTED, healths, mounted_health
from tasker_health.frameworks import starlette as ours


async def orders(request):
    """Answer for the application."""
    return JSONResponse({"method": request.method, "bytes": len(await request.body())})


ORDERS = Route("/orders", orders, methods=["GET", "POST"])


def asgi():
    """`health.asgi(app)`."""
    return wrapped_asgi(Starlette(routes=[ORDERS, Mount(MOUNTED, mounted_health().asgi())]))


def routes():
    """`Starlette(routes=[*routes(health), ...], lifespan=lifespan(health))`."""
    beside, both, found = healths(), None, []
    for health in beside:
        both, found = ours.lifespan(health, both), [*found, *ours.routes(health)]
    below = Starlette(routes=ours.routes(mounted_health()))
    return Starlette(routes=[*found, Mount(MOUNTED, below), ORDERS], lifespan=both)
