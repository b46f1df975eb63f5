"""FastAPI."""

from __future__ import annotations

from fastapi import FastAPI, Request

from frameworks import hostile
from frameworks.bare import wrapped_asgi
from frameworks.healths import MOUNTED, healths, mounted_health
from frameworks.starlette import MIDDLEWARE
from tasker_health.frameworks import fastapi as ours


def application():
    """Return one with a route of its own."""
    app = FastAPI()

    @app.api_route("/orders", methods=["GET", "POST"])
    async def orders(request: Request):
        return {"method": request.method, "bytes": len(await request.body())}

    return app


def asgi():
    """`health.asgi(app)`."""
    app = application()
    app.mount(MOUNTED, mounted_health().asgi())
    return wrapped_asgi(app)


def router():
    """`app.include_router(router(health))`."""
    app, below = application(), FastAPI()
    for health in healths():
        app.include_router(ours.router(health))
    below.include_router(ours.router(mounted_health()))
    app.mount(MOUNTED, below)
    return app


def hostile_asgi():
    """Both forms behind and before what FastAPI offers, which is Starlette's."""
    app = application()
    app.include_router(ours.router(hostile.inner()))
    for each in reversed(MIDDLEWARE):
        app.add_middleware(each.cls, *each.args, **each.kwargs)
    return hostile.outer().asgi(app)
