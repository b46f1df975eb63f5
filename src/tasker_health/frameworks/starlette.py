"""Starlette: the endpoints as a route, started and stopped by the application's lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import require_health
from tasker_health.health import Health
from tasker_health.web.asgi import below

try:
    from starlette.routing import BaseRoute, Match, Mount
    from starlette.types import Lifespan, Scope
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install starlette") from None


class HealthRoute(Mount):
    """Takes the paths that the endpoints of *health* claim, in whatever spelling, so that none of them is redirected.

    A `Mount`, because FastAPI copies such a one when a router is included, and puts the router's prefix before `path`.
    """

    def __init__(self, health: Health) -> None:
        require_health(health, "routes(health)")
        self._own = health.settings.server.prefix or "/health"
        super().__init__(self._own, app=health.asgi())
        self._claims = health.endpoints.claims

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the request is ours, and its path below the mount point as the endpoints read it."""
        if scope["type"] != "http":
            return Match.NONE, {}
        outer = scope.get("root_path", "").rstrip("/")
        path = below(outer, scope["path"])
        inner = self.path.removesuffix(self._own)
        if not path.startswith(f"{inner}/") or not self._claims(path[len(inner) :]):
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self.app, "root_path": outer + inner, "path": outer + path}


def routes(health: Health) -> list[BaseRoute]:
    """Return the routes of the endpoints: `Starlette(routes=[*routes(health), ...], lifespan=lifespan(health))`.

    Put them first: what stands before them is asked first.
    """
    return [HealthRoute(health)]


def lifespan(health: Health, own: Lifespan[Any] | None = None) -> Lifespan[Any]:
    """Return a lifespan that starts *health* before the application serves, and stops it afterwards.

    Args:
        health: What is started first and stopped last.
        own: The application's own lifespan, run within.
    """
    require_health(health, "lifespan(health)")
    skin = health.asgi()

    @asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Any]:
        try:
            await skin.begin()
            if own is None:
                yield None
                return
            async with own(app) as state:
                yield state
        finally:
            await skin.end()

    return both
