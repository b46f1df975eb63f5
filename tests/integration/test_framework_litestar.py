"""Litestar: its own idiom beside `health.asgi(app)`. The servers are asked in the table of all skins."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from litestar import Litestar, Router, get
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.config.csrf import CSRFConfig
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath
from litestar.testing import TestClient

from idioms import (
    ELSEWHERE,
    PATHS,
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
from tasker_health.frameworks.litestar import HealthPlugin, handlers

KNOWN = {"GET", "HEAD", "POST", "OPTIONS"}
"""Methods that Litestar's HTTP has; others are its own 405 where there is no endpoint."""


@get("/orders/{number:int}")
async def orders(number: FromPath[int]) -> int:
    """Answer for the application."""
    return number


@get("/healthcare/{name:str}")
async def healthcare(name: FromPath[str]) -> str:
    """Answer for the application, at a path that begins like one of ours."""
    return name


def application(*healths, more=(), **options):
    """Return one with routes of its own and a plugin for each of *healths*."""
    logging.getLogger("litestar").disabled = True
    plugins = [HealthPlugin(health) for health in healths]
    return Litestar([orders, healthcare, *more], plugins=plugins, openapi_config=None, **options)


@pytest.mark.parametrize("prefix", ["", "/tasker", "/deep/er"])
@pytest.mark.parametrize("root", ["", "/root"])
def test_the_plugin_answers_what_the_wrapped_application_answers(prefix, root):
    """Code, headers and body, also of what is nearly ours; nothing is redirected, though Litestar rewrites paths."""
    settings = {"server": {"prefix": prefix}}
    idiom = application(health_of(**settings))
    wrapped = health_of(**settings).asgi(application())
    found = asyncio.run(differences(idiom, wrapped, [prefix], paths=PATHS, root=root))
    assert [each for each in found if each[0] in KNOWN or each[3][0] != 405] == []


def test_what_litestar_routes_by_is_its_own_404():
    """Another case before `/health`, or dots: nothing answers, nothing redirects."""
    app = application(health_of())
    assert asyncio.run(codes(app, *(f"/tasker/{path}" for path in ELSEWHERE))) == [404] * len(ELSEWHERE)


def test_a_server_that_hands_over_no_raw_path():
    """The path is then as Litestar has it; the endpoints answer all the same."""
    app = application(health_of())

    async def without_raw_path(scope, receive, send):
        await app({**scope, "raw_path": None}, receive, send)

    assert asyncio.run(codes(without_raw_path, "/tasker/health/live", "/tasker/health/nothing")) == [200, 404]


@pytest.mark.parametrize("root", ["", "/root"])
def test_the_handlers_stand_in_a_router(root):
    """Its path is no part of ours."""
    idiom = application(more=[Router("/api", route_handlers=handlers(health_of()))])
    wrapped = health_of(server={"prefix": "/api/tasker"}).asgi(application())
    found = asyncio.run(differences(idiom, wrapped, ["/api/tasker"], paths=PATHS, root=root))
    found = [each for each in found if each[0] in KNOWN or each[3][0] != 405]
    assert {each[1] for each in found} <= {"/api/tasker/openapi.json"}  # it tells the prefix of the settings
    assert asyncio.run(codes(idiom, "/tasker/health/live")) == [404]


def test_routes_of_the_application_that_begin_alike_are_left_alone():
    """Without a prefix too: `/healthcare/{name}` is no path of ours, and the application's own 404 and 405 stay."""
    app = application(health_of(server={"prefix": ""}))
    asked = ["/healthcare/ann", "/orders/7", "/orders/none", "/healthy", "/health/live"]
    assert asyncio.run(codes(app, *asked)) == [200, 200, 404, 404, 200]


def test_checks_that_are_called_as_a_path_ends():
    """The mount point is told by the whole path."""
    health = health_of(Kept("health"), Kept("metrics"), server={"prefix": ""})
    app = application(more=[Router("/api", route_handlers=handlers(health))])

    async def run():
        names = ("health/ready/health", "health/ready/metrics", "health", "metrics")
        return [(await ask(app, "GET", f"/api/{name}"))[2] for name in names]

    bodies = asyncio.run(run())
    assert [body.split(b",")[0] for body in bodies[:2]] == [b'{"ready":true'] * 2
    assert (bodies[2][:9], bodies[3][:6]) == (b'{"status"', b"# HELP")


def test_the_lifespan_starts_and_stops_however_often():
    """Every connection of a check is closed at the end."""
    kept = Kept()
    asyncio.run(assert_started_and_stopped(application(health_of(kept)), kept))


def test_the_connection_to_the_database_is_closed(tmp_path):
    """No descriptor of it stays."""
    asyncio.run(assert_database_closed(application(with_database(tmp_path)), tmp_path))


def test_the_test_client_of_the_framework_leaves_nothing():
    """Each `with TestClient(app)` has an event loop of its own, and is a start and a stop."""
    kept = Kept()
    app = application(health_of(kept))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/tasker/health/ready").json()["ready"] is True
    assert kept.notes == ["opened", "closed"] * 2


def test_the_applications_own_lifespan_runs_within():
    """Managers begin after ours and end before; hooks of the shutdown come last, as Litestar has it."""
    kept = Kept()
    health = health_of(kept)

    @asynccontextmanager
    async def own(app):
        await health.ready()
        kept.notes.append("own begins")
        yield
        kept.notes.append("own ends")

    async def hook():
        kept.notes.append("hook")

    app = application(health, lifespan=[own], on_startup=[hook], on_shutdown=[hook])

    async def run():
        async with serving(app):
            pass

    asyncio.run(run())
    assert kept.notes == ["opened", "own begins", "hook", "own ends", "closed", "hook"]


def test_middleware_and_guards_come_before_the_plugin_and_not_before_the_wrapped():
    """What the page says of both."""
    strict = {"middleware": [DefineMiddleware(Refusing)]}
    asked = ["/tasker/health/live", "/tasker/health/live/", "/orders/7"]
    assert asyncio.run(codes(application(health_of(), **strict), *asked)) == [418, 418, 418]
    assert asyncio.run(codes(health_of().asgi(application(**strict)), *asked)) == [200, 404, 418]

    from litestar.exceptions import PermissionDeniedException

    def guard(connection, handler):
        raise PermissionDeniedException

    assert asyncio.run(codes(application(health_of(), guards=[guard]), "/tasker/health/live", "/orders/7")) == [
        403,
        403,
    ]


def test_a_probe_gets_no_cookie_and_is_not_forbidden():
    """Protection against CSRF leaves the endpoints out, as it leaves out whatever says so."""
    plain = application(health_of())
    app = application(health_of(), csrf_config=CSRFConfig(secret="not a secret"))

    async def run(method, path):
        return [await ask(each, method, path) for each in (plain, app)]

    for method in KNOWN:
        for path in ("/tasker/health/live", "/tasker/health/nothing"):
            expected, found = asyncio.run(run(method, path))
            assert found == expected
    assert any(name == b"set-cookie" for name, _ in asyncio.run(run("GET", "/orders/7"))[1][1])


def test_compression_and_cors_change_an_answer_of_the_plugin():
    """As the page says; a wrapped application has no part in it."""
    changed = {
        "compression_config": CompressionConfig("gzip", minimum_size=1),
        "cors_config": CORSConfig(["https://x"]),
    }
    headers = [("Accept-Encoding", "gzip"), ("Origin", "https://x")]

    async def names(app):
        _, found, _ = await ask(app, "GET", "/tasker/health/live", headers)
        return {name for name, _ in found} & {b"content-encoding", b"access-control-allow-origin"}

    assert asyncio.run(names(application(health_of(), **changed))) == {
        b"content-encoding",
        b"access-control-allow-origin",
    }
    assert asyncio.run(names(health_of().asgi(application(**changed)))) == set()


def test_the_document_of_the_application_leaves_it_out():
    """Nobody reads of probes in its OpenAPI document."""
    assert list(Litestar([orders], plugins=[HealthPlugin(health_of())]).openapi_schema.paths) == ["/orders/{number}"]


def test_two_healths_in_one_application():
    """Each answers for itself below its prefix, and both are started and stopped."""
    first, second = Kept("first"), Kept("second")
    app = application(health_of(first), health_of(second, server={"prefix": "/other"}))
    paths = ["/tasker/health/ready/first", "/other/health/ready/second"]
    asyncio.run(assert_started_and_stopped(app, first, second, paths=paths))
    assert asyncio.run(codes(app, "/tasker/health/ready/second", "/other/health/ready/first")) == [404, 404]
