"""aiohttp, which speaks no ASGI: the endpoints as the first middleware of an application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tasker_health.errors import ConfigurationError
from tasker_health.health import Health
from tasker_health.request import Request
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.render import Answer

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    raise ConfigurationError(f"{error.name} is not installed; pip install aiohttp") from None

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware


def setup(app: web.Application, health: Health) -> None:
    """Answer the endpoints of *health* in *app*, before all of its middleware, and start and stop it with *app*.

    Call it for the outermost application: what stands in an application around *app* comes first.

    Raises:
        ConfigurationError: *app* has started or was added to another one, or has these endpoints already.
    """
    path = f"{health.settings.server.prefix}/health"
    if app.frozen or app.pre_frozen:
        raise ConfigurationError("setup(app, health) comes too late; call it before app starts or is added to another")
    if any(resource.canonical == path for resource in app.router.resources()):
        raise ConfigurationError(f"{path} is taken in this application; give this Health another server.prefix")
    # Routes that nobody comes to are cheaper than a search in vain, and are told where the application is added.
    for known in health.endpoints.paths:
        app.router.add_route("*", known, _nobody)
    place = next(each for each in app.router.resources() if each.canonical == path)
    skin = health.asgi()

    async def running(_app: web.Application) -> AsyncIterator[None]:
        _put_first(app, first)
        try:
            await skin.begin()
            yield
        finally:
            await skin.end()

    first = _middleware(health.endpoints, lambda: place.canonical.removesuffix(path))
    app.middlewares.insert(0, first)
    app.cleanup_ctx.insert(0, running)


async def _nobody(request: web.Request) -> web.Response:
    raise RuntimeError(f"{request.path}: the middleware of the endpoints was taken away")


def _put_first(app: web.Application, first: Middleware) -> None:
    """Pass by what was put before it after `setup`, while there is still time."""
    if not app.pre_frozen:
        app.middlewares.remove(first)
        app.middlewares.insert(0, first)


def _middleware(endpoints: Endpoints, mounted_at: Callable[[], str]) -> Middleware:
    """Return what answers the paths that *endpoints* claims, in an application that stands at *mounted_at*."""

    @web.middleware
    async def first(request: web.Request, handler: Handler) -> web.StreamResponse:
        outer, full = mounted_at(), _path(request)
        path = full.removeprefix(outer)
        query = request.rel_url.raw_query_string
        accept = [(b"accept", value.encode()) for value in request.headers.getall("Accept", ())]
        answer = endpoints.at_once(request.method, path, accept, query)
        if answer is None and endpoints.claims(path):
            headers = [(name.lower(), value) for name, value in request.raw_headers]
            asked = Request(request.method, path, headers, _peer(request), request, query=query)
            answer = await endpoints.answer(asked)
        try:
            response = await handler(request) if answer is None else _response(answer)
        except web.HTTPException as raised:  # a response, too
            _go_elsewhere(raised, endpoints)
            raise
        _go_elsewhere(response, endpoints)
        if answer is not None and any(app.on_response_prepare for app in request.match_info.apps):
            # With a copy that belongs to no application: these functions of the application's may be slow or broken.
            await response.prepare(web.BaseRequest.clone(request))
        return response

    return first


def _response(answer: Answer) -> web.Response:
    """Return *answer*; to HEAD, aiohttp sends no body but its length."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def _go_elsewhere(response: web.StreamResponse, endpoints: Endpoints) -> None:
    """While draining, ask the client to come back over a new connection."""
    if endpoints.is_draining() and not response.prepared:
        response.headers["Connection"] = "close"
        response.force_close()


def _path(request: web.Request) -> str:
    """Return the path as ASGI has it: percent-decoded."""
    path = request.rel_url.raw_path
    return unquote(path) if "%" in path else path


def _peer(request: web.Request) -> str:
    """Return the address of the peer; over a Unix socket there is none."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else ""
