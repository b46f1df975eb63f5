"""The ASGI skin: wraps an application, or stands alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tasker_health.request import Request
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.render import Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Hook = Callable[[], Awaitable[None]]


class AsgiSkin:
    """Answers the paths that *endpoints* claims and hands everything else to *app*.

    Args:
        endpoints: Who decides.
        app: The application that is wrapped; `None`: everything else is 404.
        start: Awaited when the server starts.
        stop: Awaited when the server stops.
    """

    def __init__(self, endpoints: Endpoints, app: App | None, *, start: Hook, stop: Hook) -> None:
        self._endpoints = endpoints
        self._by_path = endpoints.by_path
        self._app = app
        self._start = start
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as the ASGI specification says (HTTP, lifespan)."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        path = _path(scope)
        if path not in self._by_path and self._app is not None and not self._endpoints.claims(path):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        client = scope.get("client")
        request = Request(method, path, scope["headers"], client[0] if client else "", scope)
        answer = await self._endpoints.answer(request)
        # A list of its own for each response: middleware around us may add to it.
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers.copy()})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await (_lifespan if self._app is None else self._lifespan_around)(self, scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def started(self) -> None:
        """Start what stands behind the endpoints."""
        await self._start()

    async def stopped(self) -> None:
        """Stop what stands behind the endpoints."""
        await self._stop()

    async def _lifespan_around(self, _skin: AsgiSkin, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the application and stop after it; an application without a lifespan has none to fail."""
        app = self._app
        started = False

        async def receive_around() -> MutableMapping[str, Any]:
            nonlocal started
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                started = True
            return message

        async def send_around(message: MutableMapping[str, Any]) -> None:
            if message["type"] in {
                "lifespan.shutdown.complete",
                "lifespan.shutdown.failed",
                "lifespan.startup.failed",
            }:
                await self._stop()
            await send(message)

        if app is None:
            return
        try:
            await app(scope, receive_around, send_around)
        except Exception:
            if started:
                await self._stop()
            raise


async def _lifespan(skin: AsgiSkin, _scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await skin.started()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await skin.stopped()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _path(scope: Scope) -> str:
    """Return the path below the mount point."""
    path: str = scope["path"]
    root = scope.get("root_path")
    if root and path.startswith(root):
        return path[len(root) :] or "/"
    return path


__all__ = ["Answer", "App", "AsgiSkin", "Receive", "Scope", "Send"]
