"""Drivers of the skins: the same request asked through each of them."""

from __future__ import annotations

import asyncio
import io
import wsgiref.validate


class AsgiDriver:
    """Asks through the ASGI skin, on a loop that lives as long as the driver."""

    def __init__(self, health, root=""):
        self._skin = health.asgi(_asgi_application)
        self._root = root
        self._runner = asyncio.Runner()

    def ask(self, method, path, headers=(), query=""):
        """Return code, headers in their order and body."""
        return self._runner.run(self._ask(method, path, headers, query))

    async def _ask(self, method, path, headers, query):
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http",
            "method": method,
            "path": self._root + path,
            "root_path": self._root,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
            "client": ("127.0.0.1", 1),
        }
        await self._skin(scope, receive, send)
        start, *bodies = sent
        found = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return start["status"], found, b"".join(body["body"] for body in bodies)

    def end(self):
        """End it."""
        self._runner.close()


class WsgiDriver:
    """Asks through the WSGI skin, from this thread, watched by the validator of PEP 3333."""

    def __init__(self, health, root=""):
        self._skin = health.wsgi(_wsgi_application)
        self._validated = wsgiref.validate.validator(self._skin)
        self._root = root

    def ask(self, method, path, headers=(), query=""):
        """Return code, headers in their order and body."""
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self._root,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        started = []

        def start_response(status, found, exc_info=None):
            started.append((int(status.split()[0]), found))
            return bytearray().extend

        answer = self._validated(environ, start_response)
        try:
            body = b"".join(answer)
        finally:
            answer.close()
        ((code, found),) = started
        return code, found, body

    def end(self):
        """End it, with its thread."""
        self._skin.stop()


async def _asgi_application(scope, receive, send):
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"the application: {scope['path']}".encode()})


def _wsgi_application(environ, start_response):
    path = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1")
    start_response("202 Accepted", [("content-type", "text/plain")])
    return [b"the application: " + path]


SKINS = {"asgi": AsgiDriver, "wsgi": WsgiDriver}
