"""Starlette: its own idiom beside `health.asgi(app)`. The servers are asked in the table of all skins."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fakes import settings_of
from idioms import (
    Kept,
    Refusing,
    ask,
    assert_database_closed,
    assert_started_and_stopped,
    codes,
    differences,
    health_of,
    serving,
    with_database,
)
from server import PATIENCE_SECONDS, free_port, wait_until
from tasker_health.access.principal import Roles
from tasker_health.access.starlette import StarletteAuthenticator
from tasker_health.frameworks.starlette import lifespan, routes
from tasker_health.health import Health


async def orders(_request):
    """Answer for the application."""
    return PlainTextResponse("orders")


ORDERS = Route("/orders", orders)


@pytest.mark.parametrize("prefix", ["", "/tasker", "/deep/er"])
@pytest.mark.parametrize("root", ["", "/root"])
def test_the_routes_answer_what_the_wrapped_application_answers(prefix, root):
    """Code, headers and body, also of what is nearly ours; nothing is redirected."""
    settings = {"server": {"prefix": prefix}}
    idiom = Starlette(routes=[*routes(health_of(**settings)), ORDERS])
    wrapped = health_of(**settings).asgi(Starlette(routes=[ORDERS]))
    assert asyncio.run(differences(idiom, wrapped, [prefix], root=root)) == []


@pytest.mark.parametrize("root", ["", "/root"])
def test_below_a_mount_they_answer_the_same(root):
    """The mount point is no part of the path."""
    idiom = Starlette(routes=[Mount("/api", routes=[*routes(health_of()), ORDERS])])
    wrapped = Starlette(routes=[Mount("/api", health_of().asgi(Starlette(routes=[ORDERS])))])
    assert asyncio.run(differences(idiom, wrapped, ["/api/tasker"], root=root)) == []


def test_the_lifespan_starts_and_stops_however_often():
    """Every connection of a check is closed at the end."""
    kept = Kept()
    health = health_of(kept)
    app = Starlette(routes=routes(health), lifespan=lifespan(health))
    asyncio.run(assert_started_and_stopped(app, kept))


def test_the_connection_to_the_database_is_closed(tmp_path):
    """No descriptor of it stays."""
    health = with_database(tmp_path)
    app = Starlette(routes=routes(health), lifespan=lifespan(health))
    asyncio.run(assert_database_closed(app, tmp_path))


def test_the_applications_own_lifespan_runs_within():
    """It begins after ours and ends before; its state is the application's."""
    kept = Kept()
    health = health_of(kept)

    @asynccontextmanager
    async def own(app):
        await health.ready()
        kept.notes.append("own begins")
        yield {"shop": "open"}
        kept.notes.append("own ends")

    async def state(request):
        return PlainTextResponse(request.state.shop)

    app = Starlette(routes=[*routes(health), Route("/state", state)], lifespan=lifespan(health, own))

    async def run():
        async with serving(app) as state:
            return await ask(app, "GET", "/state", state=state)

    assert asyncio.run(run())[2] == b"open"
    assert kept.notes == ["opened", "own begins", "own ends", "closed"]


def test_a_lifespan_that_fails_leaves_nothing_open():
    """When the application's own cannot begin, ours is ended."""
    kept = Kept()
    health = health_of(kept)

    @asynccontextmanager
    async def own(app):
        await health.ready()
        raise RuntimeError("no")
        yield

    async def run():
        async with serving(Starlette(lifespan=lifespan(health, own))):
            pass

    with pytest.raises(AssertionError, match="lifespan"):
        asyncio.run(run())
    assert kept.notes == ["opened", "closed"]


def test_middleware_comes_before_the_routes_and_not_before_the_wrapped():
    """What the page says of both."""
    strict = [Middleware(Refusing)]
    idiom = Starlette(routes=[*routes(health_of()), ORDERS], middleware=strict)
    wrapped = health_of().asgi(Starlette(routes=[ORDERS], middleware=strict))
    asked = ["/tasker/health/live", "/tasker/health/live/", "/orders"]
    assert asyncio.run(codes(idiom, *asked)) == [418, 418, 418]
    assert asyncio.run(codes(wrapped, *asked)) == [200, 404, 418]


def test_middleware_of_a_mount_leaves_routes_beside_it_alone():
    """What the page recommends to those whose middleware must not see a probe."""
    app = Starlette(routes=[*routes(health_of()), Mount("/", routes=[ORDERS], middleware=[Middleware(Refusing)])])
    assert asyncio.run(codes(app, "/tasker/health/live", "/orders")) == [200, 418]


def test_two_healths_in_one_application():
    """Each answers for itself below its prefix, and both are started and stopped."""
    first, second = Kept("first"), Kept("second")
    one, two = health_of(first), health_of(second, server={"prefix": "/other"})
    app = Starlette(routes=[*routes(one), *routes(two)], lifespan=lifespan(one, lifespan(two)))
    paths = ["/tasker/health/ready/first", "/other/health/ready/second"]
    asyncio.run(assert_started_and_stopped(app, first, second, paths=paths))
    assert asyncio.run(codes(app, "/tasker/health/ready/second", "/other/health/ready/first")) == [404, 404]


def test_who_drains_closes_connections():
    """`health.drain()`: readiness fails, and clients are asked to come back to somebody else."""
    health = health_of()
    app = Starlette(routes=[*routes(health), ORDERS], lifespan=lifespan(health))

    async def run():
        async with serving(app):
            before = await ask(app, "GET", "/tasker/health/ready")
            await health.drain()
            return before, await ask(app, "GET", "/tasker/health/ready")

    (code, headers, _), (drained, closing, _) = asyncio.run(run())
    assert (code, drained) == (200, 503)
    assert [pair for pair in closing if pair not in headers and pair[0] != b"content-length"] == [
        (b"connection", b"close")
    ]


def test_the_user_of_the_applications_middleware_is_known_to_the_status():
    """With the authenticator `starlette`, which in the wrapped form needs the middleware around."""
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn):
            named = conn.headers.get("x-employee")
            return (AuthCredentials([]), SimpleUser(named)) if named else None

    asks = {"auth": {"authentication_enabled": True}, "health": {"status_requires_authentication": True}}
    health = Health(settings_of(**asks), authenticator=StarletteAuthenticator(Roles({})))
    app = Starlette(routes=routes(health), middleware=[Middleware(AuthenticationMiddleware, backend=Backend())])

    async def run():
        return [await ask(app, "GET", "/tasker/health/status", headers) for headers in ([], [("X-Employee", "ann")])]

    assert [code for code, *_ in asyncio.run(run())] == [401, 200]


DRAINED = """
from starlette.applications import Starlette

from tasker_health import Health
from tasker_health.frameworks.starlette import lifespan, routes

health = Health()
app = Starlette(routes=routes(health), lifespan=lifespan(health))
"""


def test_sigterm_is_drained_under_a_server(tmp_path):
    """With a guard, whose job it is to tell: unready at once, at both ports, and then the server ends."""
    (tmp_path / "orders.py").write_text(DRAINED)
    port, guard = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    environment |= {"TASKER_GUARD__ENABLED": "true", "TASKER_GUARD__PORT": str(guard)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "orders:app", "--port", str(port)],
            cwd=tmp_path,
            env={**environment, "TASKER_SERVER__DRAIN_SECONDS": "3"},
            stdout=log,
            stderr=log,
        )

    def ready(port):
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/tasker/health/ready", timeout=PATIENCE_SECONDS)
        return None

    try:
        wait_until(lambda: ready(port) and ready(guard), "it serves")
        process.send_signal(signal.SIGTERM)
        drained = wait_until(
            lambda: (found := ready(port)) is not None and found.status_code == 503 and found, "it drains"
        )
        assert "server" in drained.json()["failed_checks"]
        assert drained.headers["connection"] == "close"
        wait_until(lambda: (found := ready(guard)) is None or found.status_code == 503, "the guard tells")
        process.wait(PATIENCE_SECONDS)
        wait_until(lambda: ready(guard) is None, "the guard has ended")
    finally:
        process.kill()
        process.wait()
