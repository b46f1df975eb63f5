"""Litestar: the endpoints as a plugin, or as route handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import require_health
from tasker_health.health import Health
from tasker_health.web.asgi import below

try:
    from litestar import HttpMethod, Litestar, Request
    from litestar.config.app import AppConfig
    from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
    from litestar.plugins import InitPlugin
    from litestar.types import ASGIApp, Receive, Scope, Send
    from litestar.utils import normalize_path
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install litestar") from None

_REST = "/{rest:path}"

_NO_GATE = {"exclude_from_auth": True, "exclude_from_csrf": True}
"""What Litestar's own middleware reads: a prober has no session, and gets no cookie."""


class HealthPlugin(InitPlugin):
    """Adds the endpoints of *health* and starts and stops it: `Litestar([...], plugins=[HealthPlugin(health)])`."""

    def __init__(self, health: Health) -> None:
        require_health(health, "HealthPlugin(health)")
        self._health = health

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the route handlers, and a lifespan around those of the application."""
        skin = self._health.asgi()

        @asynccontextmanager
        async def running(_app: Litestar) -> AsyncIterator[None]:
            try:
                await skin.begin()
                yield
            finally:
                await skin.end()

        app_config.route_handlers = [*app_config.route_handlers, *handlers(self._health)]
        app_config.lifespan = [running, *app_config.lifespan]
        return app_config


def handlers(health: Health) -> list[ASGIRouteHandler | HTTPRouteHandler]:
    """Return the endpoints as route handlers, for a `Router` with a path, say.

    Whoever takes them starts and stops *health* as well. Litestar's own
    authentication and protection against CSRF leave them out, and so does its OpenAPI document.
    """
    require_health(health, "handlers(health)")
    skin = health.asgi()
    paths = sorted(health.endpoints.paths, key=len, reverse=True)  # one may be the end of another

    @lru_cache
    def mounted_at(template: str) -> str:
        plain = template.removesuffix("/{rest}")
        return next(plain.removesuffix(path) for path in paths if plain.endswith(path))

    async def endpoints(scope: Scope, receive: Receive, send: Send) -> None:
        asked: dict[str, Any] = {**scope}
        outer = str(asked.get("root_path", "")).rstrip("/")
        root = outer + mounted_at(asked["path_template"])
        asked |= {"path": outer + _path_as_sent(asked, outer), "root_path": root}
        await skin(asked, receive, send)

    async def nothing(request: Request[Any, Any, Any]) -> ASGIApp:  # noqa: ARG001 -- which makes it a handler of HTTP
        return endpoints

    # No mount: Litestar's takes every path that begins with the same letters, such as that of `/healthcare/{name}`.
    known = ASGIRouteHandler(paths, copy_scope=True, opt=_NO_GATE)(endpoints)
    root = f"{health.settings.server.prefix}/health"
    unknown = HTTPRouteHandler(f"{root}{_REST}", http_method=list(HttpMethod), include_in_schema=False, opt=_NO_GATE)
    return [known, unknown(nothing)]


def _path_as_sent(scope: dict[str, Any], outer: str) -> str:
    """Return the path below *outer* before Litestar normalised it: a slash at its end, or two of them, is not ours."""
    raw, normalised = scope.get("raw_path"), str(scope["path"])
    if not raw:
        return normalised
    path = below(outer, unquote(raw.decode("latin-1")))
    return path if normalize_path(path) == normalised else normalised
