"""The ASGI skin: wraps an application, or stands alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tasker_health.request import Request
from tasker_health.termination import Termination
from tasker_health.web.endpoints import Endpoints

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Hook = Callable[[], Awaitable[None]]

App = Callable[[Any, Any, Any], Awaitable[Any]]
"""Whatever is called with scope, receive and send: each framework and server has types of its own for these."""


class AsgiSkin:
    """Answers the paths that *endpoints* claims and hands everything else to *app*.

    Args:
        endpoints: Who decides.
        app: The application that is wrapped; `None`: everything else is 404.
        start: Awaited when the server starts.
        stop: Awaited when the server stops.
        drain: Awaited when it begins to stop.
        termination: Has it drained before the server gets SIGTERM; `None`: the server does so itself.
        hold: Told `True` before *app* starts, and `False` when it has.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        app: App | None,
        *,
        start: Hook,
        stop: Hook,
        drain: Hook,
        termination: Termination | None = None,
        hold: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._endpoints = endpoints
        self._at_once = endpoints.at_once
        self._app = app
        self._start = start
        self._stop = stop
        self._drain = drain
        self._termination = termination
        self._hold = hold
        self._is_draining = endpoints.is_draining

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection, as the ASGI specification says (HTTP, lifespan)."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        if self._is_draining():
            send = _closing(send)
        method, path = scope["method"], scope["path"]
        if scope.get("root_path"):
            path = below(scope["root_path"], path)
        headers, query = scope["headers"], scope.get("query_string", b"")
        answer = self._at_once(method, path, headers, query)
        if answer is None:
            if self._app is not None and not self._endpoints.claims(path):
                await self._app(scope, receive, send)
                return
            client = scope.get("client")
            peer = client[0] if client else ""
            request = Request(method, path, headers, peer, scope, query=query.decode("latin-1"))
            answer = await self._endpoints.answer(request)
        # A list of its own for each response: middleware around us may add to it.
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers.copy()})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})

    async def drain(self) -> None:
        """Fail readiness from now on, and ask each client to come back over a new connection: to somebody else."""
        await self._drain()

    async def begin(self) -> None:
        """Start, and stand before the server's handler of SIGTERM; for whoever has no lifespan to send here."""
        await self._start()
        if self._termination is not None:
            self._termination.watch(self.drain)

    async def end(self) -> None:
        """Undo `begin`."""
        if self._termination is not None:
            self._termination.leave()
        await self._stop()

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the application and stop after it.

        An application that knows no lifespan raises before it asks for a message; then there is only ours. One that
        raises later has failed to start or to stop, which is the server's to judge.
        """
        startup: Message | None = await receive()
        self._hold(self._app is not None)
        try:
            await self.begin()
        except Exception as error:  # noqa: BLE001 -- the server is told, or it would wait for ever
            await self.end()
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        phase = ""

        async def receive_around() -> Message:
            nonlocal phase, startup
            message, startup = startup or await receive(), None
            phase = message["type"]
            return message

        async def send_around(message: Message) -> None:
            nonlocal phase
            phase = message["type"]
            if phase != "lifespan.startup.complete":
                await self.end()
            self._hold(False)  # noqa: FBT003 -- it is switched on and off
            await send(message)

        try:
            if self._app is not None:
                await self._app(scope, receive_around, send_around)
                return
        except Exception:
            if phase:
                await self.end()
                raise
        self._hold(False)  # noqa: FBT003 -- as above
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})


def _closing(send: Send) -> Send:
    """Return *send* that ends the connection after the response, unless the application has said so itself."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"connection"]
            message = {**message, "headers": [*headers, (b"connection", b"close")]}
        await send(message)

    return send_closing


def below(root: str, path: str) -> str:
    """Return *path* below the mount point *root*; some servers leave that off already."""
    root = root.rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path
