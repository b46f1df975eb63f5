"""Litestar."""

from __future__ import annotations

from litestar import HttpMethod, Litestar, Request, Router, route

from frameworks.bare import with_mounted_asgi, wrapped_asgi
from frameworks.healths import MOUNTED, healths, mounted_health
from tasker_health.frameworks import litestar as ours


@route("/orders", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
async def orders(request: Request) -> dict[str, object]:
    """Answer for the application."""
    return {"method": request.method, "bytes": len(await request.body())}


def asgi():
    """`health.asgi(app)`. Litestar's own mount is not for others: it rewrites paths, `//` and the slash at the end."""
    return with_mounted_asgi(wrapped_asgi(Litestar([orders])))


def plugin():
    """`Litestar([...], plugins=[HealthPlugin(health)])`."""
    below = Router(MOUNTED, route_handlers=ours.handlers(mounted_health()))
    return Litestar([orders, below], plugins=[ours.HealthPlugin(health) for health in healths()])
