"""FastAPI: the endpoints as a router, started and stopped by the lifespan of the application that includes it."""

from __future__ import annotations

from tasker_health.errors import ConfigurationError
from tasker_health.health import Health

try:
    from fastapi import APIRouter
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install fastapi") from None

from tasker_health.frameworks.starlette import lifespan, routes


def router(health: Health) -> APIRouter:
    """Return the router of the endpoints: `app.include_router(router(health))`, before other routers.

    Its endpoints are no operations of the application: they are not in its OpenAPI document, and dependencies of the
    application do not apply to them.

    Raises:
        ConfigurationError: This version of FastAPI drops, without a word, what is mounted in a router that is included.
    """
    made = APIRouter(lifespan=lifespan(health))
    made.routes.extend(routes(health))
    outer = APIRouter()
    outer.include_router(made)
    if not outer.routes:
        raise ConfigurationError("this FastAPI is too old for router(health); take health.asgi(app), or a newer one")
    return made
