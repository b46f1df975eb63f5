"""aiohttp, under its own server: the endpoints before all middleware of an application that speaks no ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import warnings

import httpx
import pytest
from aiohttp import web

from fakes import FakeClock, settings_of
from frameworks.exchange import Connection
from idioms import ELSEWHERE, METHODS, PATHS, Kept, ask, health_of, open_files
from server import free_port
from tasker_health.errors import ConfigurationError
from tasker_health.frameworks.aiohttp import setup
from tasker_health.health import Health
from tasker_health.testing import admin_user

OURS = {"content-type", "content-length", "cache-control", "x-content-type-options", "vary", "allow", "connection"}


async def orders(_request):
    """Answer for the application."""
    return web.Response(text="orders")


@web.middleware
async def refuse(request, handler):
    """Let nobody in."""
    raise web.HTTPForbidden


def application(*healths, **options):
    """Return one with a route of its own, set up with *healths*."""
    app = web.Application(**options)
    app.router.add_get("/orders", orders)
    for health in healths:
        setup(app, health)
    return app


@contextlib.asynccontextmanager
async def running(app, path=None):
    """Serve *app* on a free port until the block ends, and answer the port; or on the Unix socket *path*."""
    runner = web.AppRunner(app)
    port = free_port()
    try:
        await runner.setup()
        site = web.UnixSite(runner, path) if path else web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield port
    finally:
        await runner.cleanup()


async def asked(port, *requests):
    """Return code, our headers and body for each pair of method and path, written as they are, over one connection."""

    def over_one_connection():
        connection = Connection(port)
        try:
            return [connection.ask(*request) for request in requests]
        finally:
            connection.close()

    answers = await asyncio.to_thread(over_one_connection)
    return [(each.code, {pair for pair in each.headers if pair[0] in OURS}, each.body) for each in answers]


async def codes(port, *paths):
    """Return the code of each path."""
    return [code for code, _, _ in await asked(port, *(("GET", path) for path in paths))]


async def answered(app, *paths):
    """Return the codes of *paths* while *app* serves."""
    async with running(app) as port:
        return await codes(port, *paths)


@pytest.mark.parametrize("prefix", ["", "/tasker", "/deep/er"])
def test_it_answers_what_a_wrapped_asgi_application_answers(prefix):
    """Code, headers of ours and body, also of what is nearly ours, whatever the method; from what is kept too."""
    idiom, wrapped = (health_of(server={"prefix": prefix}) for _ in range(2))
    skin = wrapped.asgi()
    paths = [f"{prefix}/{path}" for path in [*PATHS, *PATHS, *ELSEWHERE]]
    methods = [method for method in METHODS if method != "BREW"]  # which llhttp, its parser, refuses
    requests = [(method, path) for path in paths for method in methods]

    async def run():
        expected = [await ask(skin, method, path) for method, path in requests]
        async with running(application(idiom)) as port:
            return expected, await asked(port, *requests)

    for request, (code, headers, body), found in zip(requests, *asyncio.run(run()), strict=True):
        plain = {(name.decode(), value.decode()) for name, value in headers}
        assert found == (code, plain, body), request


def test_in_an_application_below_another_one():
    """The prefixes under which applications are added, one in the other, are no part of the path."""
    middle, outer = web.Application(), web.Application()
    middle.add_subapp("/inner", application(health_of()))
    outer.add_subapp("/outer", middle)
    setup(outer, health_of())
    at = "/outer/inner/tasker"
    paths = [
        f"{at}/health/live",
        f"{at}/health/live/",
        f"{at}/Health/live",
        "/tasker/health/live",
        "/outer/inner/orders",
    ]
    assert asyncio.run(answered(outer, *paths, "/inner/tasker/health/live")) == [200, 404, 404, 200, 200, 404]


def test_it_comes_before_all_middleware():
    """Whether that was there before it, came later, or was put first later; the application's own answers stay."""
    app = application(middlewares=[refuse])
    setup(app, health_of())
    app.middlewares.append(refuse)
    app.middlewares.insert(0, refuse)
    paths = ["/tasker/health/live", "/tasker/health/ready", "/tasker/health/live/", "/tasker/nothing", "/orders"]
    assert asyncio.run(answered(app, *paths)) == [200, 200, 404, 403, 403]


def test_a_broken_signal_does_not_touch_a_probe():
    """What the application does to every response of its own is not done to ours."""

    async def fail(request, response):
        response.headers["X-Seen"] = "yes"
        if request.path == "/orders":
            raise RuntimeError("no")

    app = application(health_of())
    app.on_response_prepare.append(fail)

    async def run():
        async with running(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            ours, theirs = await client.get("/tasker/health/live"), await client.get("/nothing")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/orders")
            return (ours.status_code, "x-seen" in ours.headers), (theirs.status_code, "x-seen" in theirs.headers)

    assert asyncio.run(run()) == ((200, False), (404, True))


def test_it_comes_before_the_middleware_of_an_outer_application():
    """Only what is spelt otherwise, and is 404, is for the outer one to answer, as the page says."""
    outer = application(middlewares=[refuse])
    outer.add_subapp("/inner", application(health_of()))
    paths = ("tasker/health/live", "tasker/health/ready", "tasker/health/live/", "orders")
    asked_for = [f"/inner/{path}" for path in paths]
    assert asyncio.run(answered(outer, *asked_for)) == [200, 200, 403, 403]


def test_the_applications_own_404_and_405_stay():
    """What is not claimed is handed on."""
    app = application(health_of())

    async def run():
        async with running(app) as port:
            return await asked(port, ("GET", "/nothing"), ("POST", "/orders"), ("GET", "/tasker"), ("GET", "/orders"))

    assert [code for code, _, _ in asyncio.run(run())] == [404, 405, 404, 200]


def test_it_starts_and_stops_with_the_application():
    """Before the application's own start and after its own end; every connection of a check is closed."""
    kept = Kept()
    health = health_of(kept)
    app = web.Application()

    async def own(app):
        await health.ready()
        kept.notes.append("own begins")
        yield
        kept.notes.append("own ends")

    app.cleanup_ctx.append(own)
    setup(app, health)
    assert asyncio.run(answered(app, "/tasker/health/ready")) == [200]
    assert kept.notes == ["opened", "own begins", "own ends", "closed"]


def test_a_start_that_fails_leaves_nothing_open():
    """When the application's own cannot begin, ours is ended."""
    kept = Kept()
    health = health_of(kept)
    app = application(health)

    async def fail(_app):
        await health.ready()
        raise RuntimeError("no")

    app.on_startup.append(fail)

    async def run():
        async with running(app):
            pass

    with pytest.raises(RuntimeError, match="no"):
        asyncio.run(run())
    assert kept.notes == ["opened", "closed"]


def test_the_connection_to_the_database_is_closed(tmp_path):
    """No descriptor of it stays."""
    sqlite3.connect(tmp_path / "orders.db").close()
    health = Health(settings_of(database={"url": f"sqlite:///{tmp_path}/orders.db"}), clock=FakeClock())

    async def run():
        async with running(application(health)) as port:
            return await codes(port, "/tasker/health/ready/database"), open_files(tmp_path)

    assert asyncio.run(run()) == ([200], {"orders.db"})
    assert open_files(tmp_path) == set()


def test_two_healths_in_one_application():
    """Each answers for itself below its prefix, and both are started and stopped."""
    first, second = Kept("first"), Kept("second")
    app = application(health_of(first), health_of(second, server={"prefix": "/other"}))
    paths = ["/tasker/health/ready/first", "/other/health/ready/second", "/other/health/ready/first"]
    assert asyncio.run(answered(app, *paths)) == [200, 200, 404]
    assert first.notes == second.notes == ["opened", "closed"]


def test_misuse_is_told_in_a_line():
    """The same endpoints twice, and an application that has been added or has started."""
    app = application(health_of())
    with pytest.raises(ConfigurationError, match="/tasker/health is taken"):
        setup(app, health_of())
    web.Application().add_subapp("/inner", app)
    with pytest.raises(ConfigurationError, match="too late"):
        setup(app, health_of(server={"prefix": "/other"}))
    with pytest.raises(ConfigurationError, match="health is a Application; hand over the object that"):
        setup(health_of(), web.Application())


def test_middleware_that_was_cleared_away_is_there_again():
    """Whoever replaces the list after `setup` loses nothing but what was theirs."""
    app = application(health_of(), middlewares=[refuse])
    app.middlewares.clear()
    assert asyncio.run(answered(app, "/tasker/health/live", "/tasker/health/live/", "/orders")) == [200, 404, 200]


class ByApplication:
    """Knows whom the application knows."""

    async def authenticate(self, request):
        """Look into the request's application, and those around it."""
        assert request.scope.app["name"] == "inner"
        return admin_user() if request.scope.config_dict["known"] else None


def test_an_authenticator_finds_the_application_of_the_request():
    """`request.app` and `config_dict` are as in any handler, also below another application."""
    settings = settings_of(
        health={"status_requires_authentication": True}, auth={"authentication_enabled": True}, database={}
    )
    inner, outer = application(Health(settings, authenticator=ByApplication())), web.Application(middlewares=[refuse])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        inner["name"], outer["known"] = "inner", True
    outer.add_subapp("/inner", inner)
    assert asyncio.run(answered(outer, "/inner/tasker/health/status")) == [200]


def test_an_accept_that_is_no_text_is_answered():
    """It is nobody's format."""

    async def run():
        async with running(application(health_of())) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nAccept: */*\xff\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200 ")


def test_who_drains_closes_connections():
    """Every answer asks the client to come back over a new connection, also those of the application and its faults."""
    health = health_of()

    async def run():
        app = application(health)
        async with running(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            before = await client.get("/tasker/health/ready")
            await health.drain()
            return before, [await client.get(path) for path in ("/tasker/health/ready", "/orders", "/nothing")]

    before, after = asyncio.run(run())
    assert (before.status_code, before.headers.get("connection")) == (200, None)
    assert [each.status_code for each in after] == [503, 200, 404]
    assert [each.headers.get_list("connection") for each in after] == [["close"]] * 3


def test_what_is_behind_the_probe_is_the_peer_and_every_header(tmp_path):
    """Headers are as they were sent, in lower case and as often; a Unix socket has no address."""
    seen = []

    class Authenticator:
        async def authenticate(self, request):
            seen.append((request.client, request.headers("X-Twice"), request.path, request.query))
            assert isinstance(request.scope, web.Request)

    path, headers = "/tasker/health/st%61tus?a=%62&c", [("X-Twice", "a"), ("x-twice", "b"), ("Authorization", "x y")]

    async def run():
        app = application(Health(settings_of(), authenticator=Authenticator()))
        async with running(app) as port:
            assert [code for code, _, _ in await asked(port, ("GET", path, headers))] == [200]
        app = application(Health(settings_of(), authenticator=Authenticator()))
        async with running(app, str(tmp_path / "socket")):
            transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "socket"))
            async with httpx.AsyncClient(transport=transport, headers=headers) as client:
                assert (await client.get(f"http://orders{path}")).status_code == 200

    asyncio.run(run())
    expected = (["a", "b"], "/tasker/health/status", "a=%62&c")
    assert seen == [("127.0.0.1", *expected), ("", *expected)]
