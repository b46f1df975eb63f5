"""The ASGI skin: mount points, lifespan, and what belongs to the application."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock, settings_of
from tasker_health.errors import ConfigurationError
from tasker_health.health import Health


def skin_of(app):
    """Return a skin around *app* that notes when it starts and stops."""
    health = Health(settings_of(), clock=FakeClock())
    notes = []

    async def start():
        notes.append("start")

    async def stop():
        notes.append("stop")

    health.start, health.stop = start, stop
    return health.asgi(app), notes


async def lifespan(skin):
    """Run the lifespan of *skin* as a server does and return what was sent."""
    incoming: asyncio.Queue = asyncio.Queue()
    sent = []
    answered = asyncio.Event()

    async def send(message):
        sent.append(message["type"])
        answered.set()

    await incoming.put({"type": "lifespan.startup"})
    task = asyncio.create_task(skin({"type": "lifespan"}, incoming.get, send))
    waiting = asyncio.create_task(answered.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        await incoming.put({"type": "lifespan.shutdown"})
    await task
    return sent


BOTH = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_alone_it_has_a_lifespan_of_its_own():
    """Start at startup, stop at shutdown."""
    skin, notes = skin_of(None)
    assert asyncio.run(lifespan(skin)) == BOTH
    assert notes == ["start", "stop"]


async def _unused(scope, receive, send):
    raise AssertionError("the application is not called")


@pytest.mark.parametrize("app", [None, _unused], ids=["alone", "around an application"])
def test_a_start_that_fails_is_told_to_the_server(app):
    """It does not wait for ever; nothing stays started."""
    skin, notes = skin_of(app)

    async def fail():
        raise ConfigurationError("guard.port = 8081: taken")

    skin._start = fail
    sent = asyncio.run(asyncio.wait_for(lifespan(skin), 30))
    assert (sent, notes) == (["lifespan.startup.failed"], ["stop"])


def test_around_an_application_it_starts_first_and_stops_last():
    """The application finds the monitor started, and it is stopped after the application has ended."""
    skin, notes = skin_of(None)

    async def app(scope, receive, send):
        await receive()
        notes.append("app starts")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        notes.append("app stops")
        await send({"type": "lifespan.shutdown.complete"})

    skin._app = app
    assert asyncio.run(lifespan(skin)) == BOTH
    assert notes == ["start", "app starts", "app stops", "stop"]


def test_an_application_that_crashes_while_it_starts_is_not_served_as_if_it_had_started():
    """What it raises after it was told to start reaches the server."""

    async def app(scope, receive, send):
        await receive()
        raise RuntimeError("no licence")

    skin, notes = skin_of(app)
    with pytest.raises(RuntimeError, match="no licence"):
        asyncio.run(lifespan(skin))
    assert notes == ["start", "stop"]


def test_an_application_that_knows_no_lifespan_gets_ours():
    """It raises on the scope, as the specification says; the monitor is started and stopped all the same."""

    async def app(scope, receive, send):
        raise ValueError("http only")

    skin, notes = skin_of(app)
    assert asyncio.run(lifespan(skin)) == BOTH
    assert notes == ["start", "stop"]


def test_an_application_whose_start_fails_says_so_and_stops_the_monitor():
    """`lifespan.startup.failed` reaches the server, nothing stays started."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    skin, notes = skin_of(app)
    assert asyncio.run(lifespan(skin)) == ["lifespan.startup.failed"]
    assert notes == ["start", "stop"]


@pytest.mark.parametrize(
    ("root_path", "path", "code"),
    [
        ("", "/tasker/health/live", 200),
        ("/api", "/api/tasker/health/live", 200),
        ("/api", "/tasker/health/live", 200),
        ("/api/", "/api/tasker/health/live", 200),
        ("/x", "/xtasker/health/live", 404),
        ("", "/api/tasker/health/live", 404),
    ],
)
def test_a_mount_point_is_taken_off_the_path(root_path, path, code):
    """Under a server's root path, and mounted in another application, the endpoints are found."""

    async def scene():
        sent = []

        async def send(message):
            sent.append(message)

        skin, _ = skin_of(None)
        await skin({"type": "http", "method": "GET", "path": path, "root_path": root_path, "headers": []}, None, send)
        return sent[0]["status"]

    assert asyncio.run(scene()) == code


def test_middleware_around_us_may_change_the_headers_of_one_response():
    """Each response has a list of headers of its own."""

    async def scene():
        skin, _ = skin_of(None)
        starts = []

        async def send(message):
            if message["type"] == "http.response.start":
                starts.append(len(message["headers"]))
                message["headers"].append((b"x-added", b"1"))

        for _ in range(2):
            await skin({"type": "http", "method": "GET", "path": "/tasker/health/live", "headers": []}, None, send)
        return starts

    first, second = asyncio.run(scene())
    assert first == second


def test_websockets_go_to_the_application_and_are_closed_without_one():
    """They are never ours."""

    async def scene(app):
        sent = []

        async def send(message):
            sent.append(message)

        skin, _ = skin_of(app)
        await skin({"type": "websocket", "path": "/tasker/health/live"}, None, send)
        return sent

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})

    assert asyncio.run(scene(app)) == [{"type": "websocket.accept"}]
    assert asyncio.run(scene(None)) == [{"type": "websocket.close", "code": 1000}]
