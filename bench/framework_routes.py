"""One service in each framework: its own bare route, and our endpoints around it or as its own routes.

`python -m bench.framework_routes FRAMEWORK FORM` listens on `TASKER_SERVER__PORT`. The forms: `bare`, without us;
`wrapped`, by `health.asgi(app)` or `health.wsgi(app)`; `own`, in the framework's own idiom. `/bare` answers constant
bytes by the cheapest means of the framework that its documentation shows.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from bench.peers import serve
from tasker_health import Health

BODY = b'{"alive": true}'
JSON = "application/json"


def fastapi(health: Health | None) -> Any:
    """Return the service in FastAPI, with *health* as a router of it."""
    from fastapi import FastAPI, Response

    from tasker_health.frameworks.fastapi import router

    app = FastAPI()
    if health is not None:
        app.include_router(router(health))

    @app.get("/bare")
    async def bare() -> Response:
        return Response(BODY, media_type=JSON)

    return app


def starlette(health: Health | None) -> Any:
    """Return the service in Starlette, with *health* as routes of it."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tasker_health.frameworks.starlette import routes

    async def bare(_request: Request) -> Response:
        return Response(BODY, media_type=JSON)

    return Starlette(routes=[*(routes(health) if health else ()), Route("/bare", bare)])


def litestar(health: Health | None) -> Any:
    """Return the service in Litestar, with *health* as a plugin of it."""
    from litestar import Litestar, Response, get

    from tasker_health.frameworks.litestar import HealthPlugin

    @get("/bare")
    async def bare() -> Any:  # Litestar reads it, and sees no name of this function
        return Response(BODY, media_type=JSON)

    return Litestar([bare], plugins=[HealthPlugin(health)] if health else [])


def quart(health: Health | None) -> Any:
    """Return the service in Quart, with *health* as a blueprint of it."""
    from quart import Quart, Response

    from tasker_health.frameworks.quart import blueprint

    app = Quart(__name__)
    if health is not None:
        app.register_blueprint(blueprint(health))

    @app.get("/bare")
    async def bare() -> Response:
        return Response(BODY, content_type=JSON)

    return app


def flask(health: Health | None) -> Any:
    """Return the service in Flask, with *health* as a blueprint of it."""
    from flask import Flask, Response

    from tasker_health.frameworks.flask import blueprint

    app = Flask(__name__)
    if health is not None:
        app.register_blueprint(blueprint(health))

    @app.get("/bare")
    def bare() -> Response:
        return Response(BODY, content_type=JSON)

    return app


def aiohttp(health: Health | None) -> Any:
    """Return the service in aiohttp, with *health* set up in it: outermost and its own idiom are one there."""
    from aiohttp import web

    from tasker_health.frameworks.aiohttp import setup

    async def bare(_request: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type=JSON)

    app = web.Application()
    app.router.add_get("/bare", bare)
    if health is not None:
        setup(app, health)
    return app


def django_asgi(health: Health | None) -> Any:
    """Return the service in Django, without any middleware, for a server with an event loop."""
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse

    async def bare(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(BODY, content_type=JSON)

    return _django(get_asgi_application, bare, health)


def django_wsgi(health: Health | None) -> Any:
    """Return the same for a server without one."""
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse

    def bare(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(BODY, content_type=JSON)

    return _django(get_wsgi_application, bare, health)


def _django(get_application: Callable[[], Any], bare: Callable[..., Any], health: Health | None) -> Any:
    from django.conf import settings
    from django.urls import include, path

    ours = "tasker_health.frameworks.django"
    urls: Any = ModuleType("urls")
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls,
        SECRET_KEY="only for a benchmark",
        INSTALLED_APPS=[ours],
    )
    application = get_application()  # which sets Django up
    urls.urlpatterns = [path("bare", bare)]
    if health is not None:
        urls.urlpatterns.append(path("", include(f"{ours}.urls")))
    return application


ASGI = {each.__name__: each for each in (fastapi, starlette, litestar, quart, django_asgi)}
WSGI = {each.__name__: each for each in (flask, django_wsgi)}
AIOHTTP = "aiohttp"
FRAMEWORKS = (*ASGI, AIOHTTP, *WSGI)


def main() -> None:
    """Serve what the arguments name."""
    name, form = sys.argv[1:]
    own = Health() if form == "own" else None
    if name in ASGI:
        app = ASGI[name](own)
        serve(Health().asgi(app) if form == "wrapped" else app)
    elif name == AIOHTTP:
        _run_aiohttp(aiohttp(None if form == "bare" else Health()))
    else:
        app = WSGI[name](own)
        _run_gunicorn(Health().wsgi(app) if form == "wrapped" else app)


def _run_aiohttp(app: Any) -> None:
    import uvloop
    from aiohttp import web

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    port = int(os.environ["TASKER_SERVER__PORT"])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)


def _run_gunicorn(app: Any) -> None:
    from gunicorn.app.base import BaseApplication

    class Alone(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            wanted = {"bind": f"127.0.0.1:{os.environ['TASKER_SERVER__PORT']}", "worker_class": "gthread"}
            for key, value in {**wanted, "threads": 4, "keepalive": 60, "worker_connections": 200}.items():
                self.cfg.set(key, value)

        def load(self) -> Any:
            return app

    Alone().run()


if __name__ == "__main__":
    main()
