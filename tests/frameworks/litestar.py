"""Litestar."""

from __future__ import annotations

from litestar import HttpMethod, Litestar, Request, Router, route
from litestar.config.compression import CompressionConfig
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import ASGIMiddleware
from litestar.response.redirect import ASGIRedirectResponse

from frameworks import hostile
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


class Hostile(ASGIMiddleware):
    """Sleeps, raises, redirects, asks, and sets a cookie."""

    async def handle(self, scope, receive, send, next_app):
        """Serve one request."""
        kind = Headers.from_scope(scope).get(hostile.HEADER.lower())
        await hostile.sleep_or_raise_on_a_loop(kind)
        if kind == hostile.ASK:
            raise NotAuthorizedException
        if kind == hostile.REDIRECT:
            response = ASGIRedirectResponse(path=f"https://{hostile.HOST}/")
            await response(scope, receive, send)
            return

        async def with_cookie(message):
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).add("set-cookie", "session=x")
            await send(message)

        await next_app(scope, receive, with_cookie)


def hostile_asgi():
    """Both forms behind and before what Litestar offers."""
    app = Litestar(
        [orders],
        plugins=[ours.HealthPlugin(hostile.inner())],
        middleware=[Hostile()],
        allowed_hosts=[hostile.HOST],
        compression_config=CompressionConfig(backend="gzip", minimum_size=1),
    )
    return hostile.outer().asgi(app)
