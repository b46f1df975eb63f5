"""Quart: its own idiom beside `health.asgi(app)`. The servers are asked in the table of all skins."""

from __future__ import annotations

import asyncio

import pytest
from quart import Blueprint, Quart, session

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
from tasker_health.errors import ConfigurationError
from tasker_health.frameworks.quart import blueprint


def application(*blueprints, **options):
    """Return one with a route of its own after *blueprints*."""
    app = Quart(__name__)
    app.secret_key = "not a secret"
    for each in blueprints:
        app.register_blueprint(each, **options)

    @app.get("/orders/")
    async def orders():
        return "orders"

    return app


@pytest.mark.parametrize("prefix", ["", "/tasker", "/deep/er"])
@pytest.mark.parametrize("root", ["", "/root"])
def test_the_blueprint_answers_what_the_wrapped_application_answers(prefix, root):
    """Code, headers and body, also of what is nearly ours: no redirect of `//`, no answer to OPTIONS, no type added."""
    settings = {"server": {"prefix": prefix}}
    idiom = application(blueprint(health_of(**settings)))
    wrapped = health_of(**settings).asgi(application())
    assert asyncio.run(differences(idiom, wrapped, [prefix], root=root)) == []


@pytest.mark.parametrize("root", ["", "/root"])
def test_it_is_registered_with_a_prefix(root):
    """That is no part of the path, nor is that of a blueprint around it."""
    idiom = application(blueprint(health_of()), url_prefix="/api")
    wrapped = health_of(server={"prefix": "/api/tasker"}).asgi(application())
    found = asyncio.run(differences(idiom, wrapped, ["/api/tasker"], root=root))
    assert {each[1] for each in found} <= {"/api/tasker/openapi.json"}  # it tells the prefix of the settings

    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(blueprint(health_of()), url_prefix="/inner")
    asked = ["/outer/inner/tasker/health/live", "/tasker/health/live", "/inner/tasker/health/live"]
    assert asyncio.run(codes(application(outer), *asked)) == [200, 404, 404]


def test_the_applications_start_and_end_start_and_stop_however_often():
    """Every connection of a check is closed at the end."""
    kept = Kept()
    asyncio.run(assert_started_and_stopped(application(blueprint(health_of(kept))), kept))


def test_the_connection_to_the_database_is_closed(tmp_path):
    """No descriptor of it stays."""
    asyncio.run(assert_database_closed(application(blueprint(with_database(tmp_path))), tmp_path))


def test_the_test_client_of_the_framework_leaves_nothing():
    """`test_app` is a start and a stop, and the client asks as it does elsewhere."""
    kept = Kept()
    app = application(blueprint(health_of(kept)))

    async def run():
        async with app.test_app() as tested:
            response = await tested.test_client().get("/tasker/health/ready")
            return await response.get_json()

    assert [asyncio.run(run())["ready"] for _ in range(2)] == [True, True]
    assert kept.notes == ["opened", "closed"] * 2


def test_functions_of_the_application_run_at_its_start_and_end():
    """Before ours or after it, in the order in which they were added."""
    kept = Kept()
    health = health_of(kept)
    app = application(blueprint(health))

    @app.while_serving
    async def own():
        await health.ready()
        kept.notes.append("own begins")
        yield
        kept.notes.append("own ends")

    async def run():
        async with serving(app):
            pass

    asyncio.run(run())
    assert kept.notes == ["opened", "own begins", "own ends", "closed"]


def test_middleware_comes_before_the_blueprint_and_not_before_the_wrapped():
    """What the page says of both: middleware around `asgi_app`, and functions of `before_request`."""
    asked = ["/tasker/health/live", "/tasker/health/live/", "/orders/"]
    idiom, inner = application(blueprint(health_of())), application()
    for app in (idiom, inner):
        app.asgi_app = Refusing(app.asgi_app)
    inner.asgi_app = health_of().asgi(inner.asgi_app)
    assert asyncio.run(codes(idiom, *asked)) == [418, 418, 418]
    assert asyncio.run(codes(inner, *asked)) == [200, 404, 418]

    async def refuse():
        return "", 418

    late, early = application(blueprint(health_of())), application()
    late.before_request(refuse)
    early.before_request(refuse)
    early.register_blueprint(blueprint(health_of()))
    assert asyncio.run(codes(late, *asked)) == [200, 404, 418]
    assert asyncio.run(codes(early, *asked)) == [418, 418, 418]


def test_what_the_application_does_after_a_request_changes_an_answer():
    """As the page says: a session that it renews is a cookie on a probe."""
    idiom, inner = application(blueprint(health_of())), application()

    async def renew(response):
        session["seen"] = True
        return response

    async def cookies(app):
        _, found, _ = await ask(app, "GET", "/tasker/health/live")
        return [name for name, _ in found if name == b"set-cookie"]

    for app in (idiom, inner):
        app.after_request(renew)
    assert asyncio.run(cookies(idiom)) == [b"set-cookie"]
    assert asyncio.run(cookies(health_of().asgi(inner))) == []


def test_two_healths_in_one_application():
    """Each answers for itself below its prefix, and both are started and stopped."""
    first, second = Kept("first"), Kept("second")
    two = blueprint(health_of(second, server={"prefix": "/other"}), name="other")
    app = application(blueprint(health_of(first)), two)
    paths = ["/tasker/health/ready/first", "/other/health/ready/second"]
    asyncio.run(assert_started_and_stopped(app, first, second, paths=paths))
    assert asyncio.run(codes(app, "/tasker/health/ready/second", "/other/health/ready/first")) == [404, 404]


def test_what_is_behind_the_probe_is_the_peer_and_every_header():
    """The blueprint hands over what the server has handed over."""
    seen = []

    class Authenticator:
        async def authenticate(self, request):
            seen.append((request.client, request.headers("x-twice"), request.path))

    from fakes import settings_of
    from tasker_health.health import Health

    health = Health(settings_of(), authenticator=Authenticator())
    app = application(blueprint(health), url_prefix="/api")
    asyncio.run(
        ask(app, "GET", "/api/tasker/health/status", [("X-Twice", "a"), ("X-Twice", "b"), ("Authorization", "x y")])
    )
    assert seen == [("192.0.2.7", ["a", "b"], "/tasker/health/status")]


def test_a_prefix_has_no_variable():
    """A probe asks for one path."""
    app = Quart(__name__)
    with pytest.raises(ConfigurationError, match=r"url_prefix = '/<tenant>': a variable; register it under a plain"):
        app.register_blueprint(blueprint(health_of()), url_prefix="/<tenant>")
    with pytest.raises(ConfigurationError, match="health is a Quart"):
        blueprint(app)
