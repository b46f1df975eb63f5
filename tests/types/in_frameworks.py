"""A user's modules with each framework, as one writes them with types. Never imported, as `service.py` is not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

from aiohttp import web
from fastapi import FastAPI
from litestar import Litestar, Router
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount

from tasker_health import Health
from tasker_health.frameworks.aiohttp import setup
from tasker_health.frameworks.fastapi import router
from tasker_health.frameworks.litestar import HealthPlugin, handlers
from tasker_health.frameworks.quart import blueprint
from tasker_health.frameworks.starlette import lifespan, routes

health = Health()


class State(TypedDict):
    """What the application's own lifespan gives to requests."""

    shop: str


@asynccontextmanager
async def stateful(_app: Starlette) -> AsyncGenerator[State]:
    """Give a state."""
    yield {"shop": "open"}


@asynccontextmanager
async def stateless(_app: FastAPI) -> AsyncGenerator[None]:
    """Give none."""
    yield


on_starlette = Starlette(routes=[*routes(health), Mount("/api", routes=routes(health))], lifespan=lifespan(health))
with_state = Starlette(routes=routes(health), lifespan=lifespan(health, stateful))

on_fastapi = FastAPI(lifespan=stateless)
on_fastapi.include_router(router(health), prefix="/api")

on_litestar = Litestar([Router("/api", route_handlers=handlers(health))], plugins=[HealthPlugin(health)])

on_quart = Quart(__name__)
on_quart.register_blueprint(blueprint(health, name="health"), url_prefix="/api")

on_aiohttp = web.Application()
setup(on_aiohttp, health)

wrapped = [
    health.asgi(on_starlette),
    health.asgi(on_fastapi),
    health.asgi(on_litestar),
    health.asgi(on_quart),
    health.asgi(on_quart.asgi_app),  # mypy calls every assignment back to that an error: `method-assign`
]
