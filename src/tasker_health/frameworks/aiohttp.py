"""aiohttp, which speaks no ASGI: the endpoints as routes for which no middleware is run, of whatever application.

What is spelt otherwise has no route; a middleware answers that, before all others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks import require_health
from tasker_health.health import Health
from tasker_health.request import Request
from tasker_health.web.render import Answer

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install aiohttp") from None

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware


def setup(app: web.Application, health: Health) -> None:
    """Answer the endpoints of *health* in *app*, before all of its middleware, and start and stop it with *app*.

    Raises:
        ConfigurationError: *app* has started or was added to another one, or has these endpoints already.
    """
    require_health(health, "setup(app, health)")
    path = f"{health.settings.server.prefix}/health"
    if app.frozen or app.pre_frozen:
        raise ConfigurationError("setup(app, health) comes too late; call it before app starts or is added to another")
    if any(resource.canonical == path for resource in app.router.resources()):
        raise ConfigurationError(f"{path} is taken in this application; give this Health another server.prefix")
    probes = _Probes(health)
    for known in health.endpoints.paths:
        app.router.register_resource(_Place(known, probes))
    skin = health.asgi()

    async def running(_app: web.Application) -> AsyncIterator[None]:
        _put_first(app, probes.middleware)
        try:
            await skin.begin()
            yield
        finally:
            await skin.end()

    app.middlewares.insert(0, probes.middleware)
    app.cleanup_ctx.insert(0, running)


def _put_first(app: web.Application, first: Middleware) -> None:
    """Pass by what was put before it after `setup`, while there is still time."""
    if not app.pre_frozen:
        if first in app.middlewares:
            app.middlewares.remove(first)
        app.middlewares.insert(0, first)


class _Match(web.UrlMappingMatchInfo):
    """A match for which nobody's middleware and signals are run, whatever applications stand around it.

    Args:
        path: The path of the endpoint, as the endpoints know it.
        route: Its route.

    Attributes:
        path: The same.
        is_entered: Whether the handler has begun; from then on `request.app` and `config_dict` know the applications.
    """

    __slots__ = ("_around", "is_entered", "path")

    def __init__(self, path: str, route: web.AbstractRoute) -> None:
        super().__init__({}, route)
        self.path: str = path
        self.is_entered: bool = False
        self._around: tuple[web.Application, ...] = ()

    def add_app(self, app: web.Application) -> None:
        """Stand in *app*, the next one outwards."""
        if not self._around:
            self._current_app = app
        self._around = (app, *self._around)

    @property
    def apps(self) -> tuple[web.Application, ...]:
        """The applications, the outermost first."""
        return self._around if self.is_entered else ()


class _Place(web.PlainResource):
    """The path of one endpoint; the router looks it up, and it knows where its application is added to another one."""

    def __init__(self, path: str, probes: _Probes) -> None:
        super().__init__(path)
        self._own = path
        self._route = self.add_route("*", probes.known)
        probes.places.append(self)

    @property
    def outer(self) -> str:
        """The prefix under which the application is added to another one."""
        return self._path.removesuffix(self._own)

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Return the match; `None`: it is another path below this one, or one that is spelt otherwise."""
        if request.rel_url.raw_path != self._path:
            return None, set()
        return _Match(self._own, self._route), set()


_ANYTHING = ((b"accept", b"*/*"),)


class _Probes:
    """Answers the paths that *health* claims: those that are known by a route, all others as a middleware."""

    def __init__(self, health: Health) -> None:
        self._endpoints = health.endpoints
        self._at_once = health.endpoints.at_once
        self._is_draining = health.endpoints.is_draining
        self.places: list[_Place] = []

    async def known(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for one of the places."""
        match: Any = request.match_info
        match.is_entered = True
        accepts = request.headers.getall("Accept", ())
        accept = _ANYTHING if accepts == ["*/*"] else [(b"accept", each.encode("utf-8", "replace")) for each in accepts]
        answer = self._at_once(request.method, match.path, accept, request.rel_url.raw_query_string)
        if answer is None:
            answer = await self._endpoints.answer(_asked(request, match.path))
        response = _response(answer)
        self._go_elsewhere(response)
        return response

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what is claimed and no place: what is spelt otherwise, and must not be redirected."""
        path = _path(request).removeprefix(self.places[0].outer)
        is_ours = self._endpoints.claims(path)
        try:
            if is_ours:
                response: web.StreamResponse = _response(await self._endpoints.answer(_asked(request, path)))
            else:
                response = await handler(request)
        except web.HTTPException as raised:  # a response, too
            self._go_elsewhere(raised)
            raise
        self._go_elsewhere(response)
        if is_ours and any(app.on_response_prepare for app in request.match_info.apps):
            # With a copy that belongs to no application: these functions of the application's may be slow or broken.
            await response.prepare(web.BaseRequest.clone(request))
        return response

    def _go_elsewhere(self, response: web.StreamResponse) -> None:
        """While draining, ask the client to come back over a new connection."""
        if self._is_draining() and not response.prepared:
            response.headers["Connection"] = "close"
            response.force_close()


def _asked(request: web.Request, path: str) -> Request:
    headers = [(name.lower(), value) for name, value in request.raw_headers]
    return Request(request.method, path, headers, _peer(request), request, query=request.rel_url.raw_query_string)


def _response(answer: Answer) -> web.Response:
    """Return *answer*; to HEAD, aiohttp sends no body but its length."""
    return web.Response(body=answer.body, status=answer.status, headers=answer.text_headers)


def _path(request: web.Request) -> str:
    """Return the path as ASGI has it: percent-decoded."""
    path = request.rel_url.raw_path
    return unquote(path) if "%" in path else path


def _peer(request: web.Request) -> str:
    """Return the address of the peer; over a Unix socket there is none."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else ""
