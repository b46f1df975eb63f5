"""An application whose workers can be blocked: asleep in a request, or with the interpreter's lock held."""

from __future__ import annotations

import ctypes
import os
import time

from fakes import FakeSource
from tasker_health import Health

LONG_SECONDS = 600


def health_of_a_pod():
    """Return one by the environment, with a source and a check."""
    health = Health()
    health.add_source(FakeSource())
    health.check("well")(lambda: None)
    return health


def _hold_the_interpreter():
    """Wait in a native call that never ends and never lets other threads run; unlike a sleep, no signal ends it."""
    reader, _ = os.pipe()
    ctypes.PyDLL(None).read(reader, ctypes.create_string_buffer(1), 1)


def _do(path):
    """Do what *path* says, and return what is answered."""
    if path == "/sleep":
        time.sleep(LONG_SECONDS)
    if path == "/hold":
        _hold_the_interpreter()
    return str(os.getpid()).encode()


def asgi():
    """Return it for servers with an event loop, which it blocks."""

    async def application(scope, receive, send):
        assert scope["type"] == "http"
        body = _do(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    return health_of_a_pod().asgi(application)


def wsgi():
    """Return it for servers without."""

    def application(environ, start_response):
        body = _do(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return health_of_a_pod().wsgi(application)
