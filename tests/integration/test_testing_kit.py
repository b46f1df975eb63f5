"""The kit with what users have: the test client of every framework, and real databases that hang on demand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasker_health import Health
from tasker_health.request import Request
from tasker_health.testing import (
    FakeCheck,
    FixedSource,
    HangingDatabase,
    HealthClient,
    assert_alive,
    assert_healthy,
    assert_not_ready,
    assert_ready,
    settings_of,
)

# Starlette's own client wants a fork of httpx, and takes httpx with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")

PATIENCE_SECONDS = 60


@pytest.fixture
def database():
    """A check called `database`, of `health`."""
    return FakeCheck("database")


@pytest.fixture
def health(database):
    """A health whose every answer is made anew."""
    health = Health(settings_of(health={"readiness_max_age_seconds": 0, "cache_duration_seconds": 0}))
    health.add_check(database)
    health.add_source(FixedSource())
    return health


@contextmanager
def starlette_client(health):
    """Also FastAPI's, which is the same."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    with TestClient(health.asgi(Starlette())) as client:
        yield client


@contextmanager
def fastapi_client(health):
    """Around an application of FastAPI."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    with TestClient(health.asgi(FastAPI())) as client:
        yield client


@contextmanager
def litestar_client(health):
    """Litestar's, of an application that has the endpoints mounted."""
    from litestar.testing import TestClient

    with TestClient(_litestar(health)) as client:
        yield client


@contextmanager
def httpx_client(health):
    """Of httpx, in process."""
    skin = health.wsgi()
    with httpx.Client(transport=httpx.WSGITransport(app=skin), base_url="http://testserver") as client:
        yield client
    skin.stop()


@contextmanager
def flask_client(health):
    """Flask's."""
    from flask import Flask

    app = Flask(__name__)
    app.wsgi_app = skin = health.wsgi(app.wsgi_app)
    with app.test_client() as client:
        yield client
    skin.stop()


@contextmanager
def werkzeug_client(health):
    """Werkzeug's, before any WSGI callable."""
    from werkzeug.test import Client

    skin = health.wsgi()
    yield Client(skin)
    skin.stop()


@asynccontextmanager
async def async_httpx_client(health):
    """Of httpx, awaited."""
    transport = httpx.ASGITransport(app=health.asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@asynccontextmanager
async def async_litestar_client(health):
    """Litestar's, awaited."""
    from litestar.testing import AsyncTestClient

    async with AsyncTestClient(_litestar(health)) as client:
        yield client


@asynccontextmanager
async def quart_client(health):
    """Quart's."""
    from quart import Quart

    app = Quart(__name__)
    app.asgi_app = health.asgi(app.asgi_app)
    yield app.test_client()


@asynccontextmanager
async def aiohttp_client(health):
    """aiohttp's, over a socket."""
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def answer(request):
        found = await health.endpoints.answer(Request("GET", request.path, []))
        return web.Response(body=found.body, status=found.status, content_type="application/json")

    app = web.Application()
    app.router.add_get("/tasker/{rest:.*}", answer)
    async with TestClient(TestServer(app)) as client:
        yield client


def _litestar(health):
    from litestar import Litestar, asgi

    @asgi("/tasker", is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:  # Litestar wants to be told
        path = f"/tasker/{scope['path'].strip('/')}"  # it has taken the mount point off, and put a slash on
        await health.asgi()({**scope, "path": path}, receive, send)

    return Litestar([mounted], openapi_config=None)


SYNC = [starlette_client, fastapi_client, litestar_client, httpx_client, flask_client, werkzeug_client]
ASYNC = [async_httpx_client, async_litestar_client, quart_client, aiohttp_client]


@pytest.mark.parametrize("made", SYNC, ids=lambda made: made.__name__)
def test_the_assertions_work_with_every_client(made, health, database):
    """Well and not, with what is said of it."""
    with made(health) as client:
        assert assert_alive(client)["alive"] is True
        assert assert_ready(client)["checks"]["database"]["status"] == "ok"
        assert assert_healthy(client, headers={"Accept": "*/*"})["status"] == "healthy"
        database.fail("refused")
        assert_not_ready(client, failed=["database"])
        with pytest.raises(AssertionError, match=r"^not ready: database: error \(refused\)\n.* answered 503: {"):
            assert_ready(client)


@pytest.mark.parametrize("made", ASYNC, ids=lambda made: made.__name__)
def test_the_assertions_are_awaited_with_every_client_that_is(made, health, database):
    """The same functions."""

    async def asks():
        async with made(health) as client:
            assert (await assert_alive(client))["alive"] is True
            assert (await assert_ready(client))["checks"]["database"]["status"] == "ok"
            assert (await assert_healthy(client, headers={"Accept": "*/*"}))["status"] == "healthy"
            database.fail("refused")
            await assert_not_ready(client, failed=["database"])
            with pytest.raises(AssertionError, match=r"^not ready: database: error \(refused\)\n.* answered 503: {"):
                await assert_ready(client)
        await health.stop()

    asyncio.run(asks())


def test_the_assertions_work_with_the_clients_of_django():
    """Sync and async; in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("django_client.py"))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "not ready: database: error (refused)"), done.stderr


@pytest.mark.parametrize("server", ["postgres_database", "mariadb_database"])
def test_a_real_database_hangs_refuses_and_comes_back(server, request):
    """A user's test sees each within the deadline, and the recovery after it."""
    with HangingDatabase(request.getfixturevalue(server)) as database:
        settings = settings_of(
            database={"url": database.url}, health={"readiness_max_age_seconds": 0, "readiness_timeout_seconds": 0.5}
        )
        with HealthClient(Health(settings)) as client:
            assert_ready(client)
            for disturb, reasons in [
                (database.hang, ["timeout"]),
                (database.refuse, ["unreachable", "refused"]),  # the connection in use is lost first
                (database.reset, ["unreachable"]),
            ]:
                disturb()
                for reason in reasons:
                    began = time.monotonic()
                    body = assert_not_ready(client, failed=["database"])
                    assert time.monotonic() - began < 5
                    assert body["checks"]["database"]["reason"] == reason
                database.release()
                assert_ready(client)
