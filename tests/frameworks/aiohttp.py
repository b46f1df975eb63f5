"""aiohttp, which is its own server."""

from __future__ import annotations

from aiohttp import web

from frameworks import hostile
from frameworks.healths import MOUNTED, healths, mounted_health
from tasker_health.frameworks import aiohttp as ours


async def orders(request):
    """Answer for the application."""
    return web.json_response({"method": request.method, "bytes": len(await request.read())})


def application(**options):
    """Return one with a route of its own."""
    app = web.Application(**options)
    app.router.add_route("GET", "/orders", orders)
    app.router.add_route("POST", "/orders", orders)
    return app


def setup():
    """`setup(app, health)`."""
    app, below = application(), web.Application()
    for health in healths():
        ours.setup(app, health)
    ours.setup(below, mounted_health())
    app.add_subapp(MOUNTED, below)
    return app


@web.middleware
async def hostile_middleware(request, handler):
    """Sleep, raise, redirect, ask, refuse a host, compress, and set a cookie."""
    kind = request.headers.get(hostile.HEADER)
    await hostile.sleep_or_raise_on_a_loop(kind)
    if request.host != hostile.HOST:
        raise web.HTTPBadRequest
    if kind == hostile.ASK:
        raise web.HTTPUnauthorized
    if kind == hostile.REDIRECT:
        raise web.HTTPFound(f"https://{hostile.HOST}/")
    response = await handler(request)
    response.set_cookie("session", "x")
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression()
    return response


def hostile_setup():
    """The one form, before whatever middleware the application has."""
    app = application(middlewares=[hostile_middleware])
    ours.setup(app, hostile.outer())
    return app
