"""An application's middleware does not touch a probe that is answered before it; the framework's idiom comes after."""

from __future__ import annotations

import contextlib

import pytest

from frameworks import hostile
from frameworks.exchange import Connection
from frameworks.healths import OPEN
from frameworks.serving import Serving
from frameworks.table import TABLE

APPLICATIONS = {
    "starlette.hostile_asgi": "uvicorn",
    "fastapi.hostile_asgi": "uvicorn",
    "litestar.hostile_asgi": "uvicorn",
    "quart.hostile_asgi": "hypercorn",
    "django.hostile_asgi": "uvicorn",
    "django.hostile_wsgi": "gunicorn, gthread",
    "flask.hostile_wsgi": "gunicorn, gthread",
    "aiohttp.hostile_setup": "aiohttp",
}
IN_TIME_SECONDS = 5
"""Far less than the middleware sleeps."""

HOST = (("Host", hostile.HOST),)
WAYS = {
    "nothing": HOST,
    "a redirect to HTTPS": (*HOST, (hostile.HEADER, hostile.REDIRECT)),
    "a host that is not allowed": (("Host", "evil.example"),),
    "authentication": (*HOST, (hostile.HEADER, hostile.ASK)),
    "compression": (*HOST, ("Accept-Encoding", "gzip")),
    "an exception": (*HOST, (hostile.HEADER, hostile.RAISE)),
    "a sleep": (*HOST, (hostile.HEADER, hostile.SLEEP)),
}
"""What a request says, and so what it meets; the sleep is last, for it may keep a thread."""

INSIDE = f"{hostile.IDIOM}/health/status"

UNMET = {
    # Its body is shorter than Django compresses.
    ("django", "compression", "/orders"),
    # Flask checks the host where it routes; the blueprint answers before that.
    ("flask", "a host that is not allowed", INSIDE),
}
"""What of the application's own does not come in the way, by framework, way and path."""


def expected(path):
    """Return the row of the table that asks *path*, the later one where there are two: what is cached."""
    return [row for row in TABLE if row.path == path and not row.headers and row.method == "GET" and not row.sent][-1]


PROBES = [expected(f"{OPEN}/health/{name}") for name in ("status", "live", "ready", "startup")]


def met(way, answer):
    """Return whether *answer* shows that the middleware was met."""
    code, headers = answer.code, dict(answer.headers)
    return {
        "nothing": code == 200 and "set-cookie" in headers,
        "a redirect to HTTPS": code in {301, 302, 307, 308} and headers.get("location", "").startswith("https://"),
        "a host that is not allowed": code == 400,
        "authentication": code == 401,
        "compression": headers.get("content-encoding") == "gzip",
        "an exception": code == 500,
    }[way]


@pytest.fixture(scope="module")
def applications(tmp_path_factory):
    """All of them, started together."""
    folder = tmp_path_factory.mktemp("middleware")
    with contextlib.ExitStack() as stack:
        started = {}
        for skin, server in APPLICATIONS.items():
            started[skin] = Serving(skin, server, folder)
            stack.callback(started[skin].kill)
        yield started


@pytest.mark.parametrize("skin", APPLICATIONS)
def test_the_wrap_meets_none_of_it_and_the_idiom_all_of_it(applications, skin):
    """Whatever a request meets in the application, the outermost callable has answered the same probe, in time."""
    serving = applications[skin]
    serving.ask_all([])
    behind = ["/orders"] if skin.startswith("aiohttp") else ["/orders", INSIDE]  # its idiom comes first as well
    connection = Connection(serving.port, IN_TIME_SECONDS)
    try:
        connection.ask("GET", PROBES[0].path)  # fills the cache
        for way, headers in WAYS.items():
            if way == "a sleep":
                for path in behind:
                    assert_it_sleeps(serving.port, path, headers)
            else:
                for path in behind:
                    answer = connection.ask("GET", path, headers)
                    assert met(way, answer) or (skin.partition(".")[0], way, path) in UNMET, (way, path, answer)
            for row in PROBES:
                answer = connection.ask("GET", row.path, headers)
                assert (answer.code, answer.headers, answer.json) == (row.code, row.expected, row.body), (way, row.name)
    finally:
        connection.close()


def assert_it_sleeps(port, path, headers):
    """Fail when *path* answers at once."""
    connection = Connection(port, timeout_seconds=0.3)
    with pytest.raises(TimeoutError):
        connection.ask("GET", path, headers)
    connection.close()
