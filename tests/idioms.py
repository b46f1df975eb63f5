"""What is asked of a framework's own idiom: the same requests through it and through `health.asgi(app)`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from fakes import FakeClock, FakeSource, settings_of
from server import PATIENCE_SECONDS
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

METHODS = ["GET", "HEAD", "POST", "OPTIONS", "BREW"]
PATHS = [
    *("health/live", "health/ready", "health/ready/well", "health/ready/away", "health/ready/none", "health/startup"),
    *(
        "health/status",
        "health",
        "health?format=health",
        "metrics",
        "openapi.json",
        "health/nothing",
        "health/live;x=1",
    ),
    *("health/live/", "health/", "metrics/", "openapi.json/", "/health/live", "health//live", "health/./live"),
    *("health/x/../live", "health/Live", "health/%6cive", "health/l%C3%AFve", "health/%2e/live", "health%2Flive"),
]
ELSEWHERE = ["HEALTH/live", "./health/live", "x/../health/live", "Metrics"]
"""Nearly ours, in a part of the path by which a framework may choose the route."""


class Kept:
    """A check that keeps a connection, and notes when it is made and closed."""

    critical, timeout_seconds = True, None

    def __init__(self, name="kept"):
        self.name = name
        self.notes = []

    async def __call__(self):
        """Make it, unless it is there."""
        if self.notes[-1:] != ["opened"]:
            self.notes.append("opened")

    async def close(self):
        """Close it."""
        self.notes.append("closed")


def health_of(*checks, **groups):
    """Return a health on which the clock stands still, with a check that is well and one that is not."""
    health = Health(settings_of(**groups), clock=FakeClock())
    health.add_source(FakeSource())
    health.check("well")(lambda: None)

    @health.check("away", critical=False)
    async def away():
        raise CheckFailed(Reason.REFUSED, "detail")

    for check in checks:
        health.add_check(check)
    return health


async def ask(app, method, path, headers=(), root="", client=("192.0.2.7", 4711), state=None):
    """Return code, headers in their order and body, as *app* answers an ASGI server behind which it is at *root*."""
    path, _, query = path.partition("?")
    raw = f"{root}{path}".encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(raw.decode("ascii")),
        "raw_path": raw,
        "root_path": root,
        "query_string": query.encode(),
        "headers": [
            (b"host", b"orders.example"),
            *((name.lower().encode(), value.encode()) for name, value in headers),
        ],
        "client": client,
        "server": ("127.0.0.1", 80),
        "extensions": {},
        "state": dict(state or {}),
    }
    sent = []
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if received:
            return received.pop()
        await asyncio.sleep(PATIENCE_SECONDS)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    return start["status"], list(start["headers"]), b"".join(body.get("body", b"") for body in bodies)


@asynccontextmanager
async def serving(app):
    """Run the lifespan of *app* around the block, as a server does; answers the state for requests."""
    incoming, outgoing = asyncio.Queue(), asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, incoming.get, outgoing.put))
    for phase in ("startup", "shutdown"):
        await incoming.put({"type": f"lifespan.{phase}"})
        message = await asyncio.wait_for(outgoing.get(), PATIENCE_SECONDS)
        assert message["type"] == f"lifespan.{phase}.complete", message
        if phase == "startup":
            yield scope["state"]
    await asyncio.wait_for(task, PATIENCE_SECONDS)


async def differences(idiom, wrapped, prefixes=("/tasker",), paths=(*PATHS, *ELSEWHERE), root=""):
    """Return what the two answer differently, the first time and from what is kept."""
    found = []
    for path in [f"{prefix}/{path}" for prefix in prefixes for path in [*paths, *paths]]:
        for method in METHODS:
            pair = [await ask(app, method, path, [("Accept", "*/*")], root) for app in (wrapped, idiom)]
            if pair[0] != pair[1]:
                found.append((method, path, *pair))
    return found


async def assert_started_and_stopped(app, *kept, paths=("/tasker/health/ready",), rounds=2):
    """Assert that each lifespan of *app* ends with every connection closed, however often it is begun."""
    for _ in range(rounds):
        async with serving(app):
            for path in paths:
                assert (await ask(app, "GET", path))[0] == 200
            assert [check.notes for check in kept] == [["opened"]] * len(kept)
        assert [check.notes for check in kept] == [["opened", "closed"]] * len(kept)
        for check in kept:
            check.notes.clear()


def open_files(folder):
    """Return what this process has open in *folder*."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(descriptor.readlink())
    return {each.name for each in found if each.parent == folder}


def with_database(folder):
    """Return a health with a database in *folder*."""
    sqlite3.connect(folder / "orders.db").close()
    return Health(settings_of(database={"url": f"sqlite:///{folder}/orders.db"}), clock=FakeClock())


async def assert_database_closed(app, folder):
    """Assert that the database is open while *app* serves, and not afterwards."""
    for _ in range(2):
        async with serving(app):
            code, _, body = await ask(app, "GET", "/tasker/health/ready/database")
            assert (code, "orders.db" in open_files(folder)) == (200, True), body
        assert open_files(folder) == set()


class Refusing:
    """Middleware of ASGI that lets nobody in, as one for authentication does, and adds a header to what it sees."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        """Answer 418 to every request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def codes(app, *paths):
    """Return the code of each path."""
    return [(await ask(app, "GET", path))[0] for path in paths]
