"""Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from frameworks import hostile
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


class Refusing(AuthenticationBackend):
    """Knows nobody."""

    async def authenticate(self, conn):
        """Refuse."""
        if conn.headers.get(hostile.HEADER) == hostile.ASK:
            raise AuthenticationError


class Slow(BaseHTTPMiddleware):
    """Sleeps or raises, and sets a cookie."""

    async def dispatch(self, request, call_next):
        """Serve one request."""
        await hostile.sleep_or_raise_on_a_loop(request.headers.get(hostile.HEADER))
        response = await call_next(request)
        response.set_cookie("session", "x")
        return response


MIDDLEWARE = [
    Middleware(Slow),
    Middleware(TrustedHostMiddleware, allowed_hosts=[hostile.HOST]),
    Middleware(hostile.Only, kind=hostile.REDIRECT, make=HTTPSRedirectMiddleware),
    Middleware(
        AuthenticationMiddleware,
        backend=Refusing(),
        on_error=lambda _request, _error: JSONResponse({}, 401),
    ),
    Middleware(GZipMiddleware, minimum_size=1),
]


def hostile_asgi():
    """Both forms behind and before what Starlette offers."""
    health = hostile.inner()
    app = Starlette(routes=[*ours.routes(health), ORDERS], lifespan=ours.lifespan(health), middleware=MIDDLEWARE)
    return hostile.outer().asgi(app)
