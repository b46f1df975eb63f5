"""The WSGI skin: wraps an application, or stands alone (PEP 3333)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from tasker_health.access.mtls import require_no_comma
from tasker_health.bridge import GRACE_SECONDS, Bridge
from tasker_health.request import Request
from tasker_health.settings import Settings
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.render import Answer

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

log = logging.getLogger(__name__)

_SLOWEST_REFUSAL_SECONDS = 2.0
"""How long whoever fails again and again is kept waiting."""

_NO_HEADERS = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})
"""Variables that no honest header makes: those two have names of their own."""


class WsgiSkin:
    """Answers the paths that *endpoints* claims and hands everything else to *app*.

    What is known is answered in the thread that asks: what was given before and still serves, and what never waits,
    as liveness. The rest is awaited on the loop behind *bridge*, within the deadlines.

    Args:
        endpoints: Who decides.
        app: The application that is wrapped; `None`: everything else is 404.
        bridge: The way to the event loop.
        settings: How long answers may take, and whether the guard is to be started.

    Raises:
        SettingsError: A caller has a certificate that cannot be told for sure behind WSGI.
    """

    def __init__(self, endpoints: Endpoints, app: App | None, bridge: Bridge, settings: Settings) -> None:
        require_no_comma(settings.auth)
        self._endpoints = endpoints
        self._app = app
        self._bridge = bridge
        self._begins_early = bool(settings.guard.enabled)
        self._readiness_seconds = settings.health.readiness_timeout_seconds + GRACE_SECONDS
        self._status_seconds = _status_seconds(settings)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        method, path = environ["REQUEST_METHOD"], _path(environ)
        query = environ.get("QUERY_STRING", "")
        answer = self._endpoints.at_once(method, path, _accept(environ), query)
        if answer is None:
            if self._begins_early and not self._bridge.begun:
                self._begin()
            if self._app is not None and not self._endpoints.claims(path):
                return self._app(environ, start_response)
            headers, client = list(_headers(environ)), environ.get("REMOTE_ADDR") or ""
            answer = self._answer(Request(method, path, headers, client, environ, query=query, folded=True))
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(answer.text_headers))
        # Not an empty list: hypercorn 0.18 takes that for an application that never answered.
        return [b"" if method == "HEAD" else answer.body]

    def start(self) -> None:
        """Start now and not at the first request: the guard with its port, and in the main thread the drain on SIGTERM.

        Call it in each worker, after it was forked.

        Raises:
            ConfigurationError: The port of the guard cannot be had.
        """
        self._bridge.start()

    def stop(self) -> None:
        """Close every connection and end the thread; at the end of the process that is done by itself."""
        self._bridge.stop()

    def _answer(self, request: Request) -> Answer:
        method, path = request.method, request.path
        if not self._endpoints.waits(method, path):
            return _answered(self._endpoints.answer(request))
        patience = self._readiness_seconds if self._endpoints.is_readiness(path) else self._status_seconds
        try:
            return self._bridge.call(partial(self._endpoints.answer, request), patience)
        except Exception as error:  # noqa: BLE001 -- whatever keeps the loop from answering, the prober is told in time
            log.error("%s %s: %s", method, path, error)  # noqa: TRY400 -- the line says it all
            return self._endpoints.late(path)

    def _begin(self) -> None:
        try:
            self._bridge.begin()
        except Exception as error:  # noqa: BLE001 -- the application's own requests do not fail for us
            log.error("the start has failed: %s", error)  # noqa: TRY400 -- as above


def _status_seconds(settings: Settings) -> float:
    """Return how long the slowest answer may take: who asks, may they, and the facts themselves."""
    auth, health = settings.auth, settings.health
    access = (len(auth.authenticator_class) + 3) * auth.timeout_seconds + _SLOWEST_REFUSAL_SECONDS
    return access + max(health.status_timeout_seconds, health.readiness_timeout_seconds) + GRACE_SECONDS


def _answered(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what *coroutine*, which waits for nothing, answers."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    coroutine.close()
    raise RuntimeError("what never waits has waited")


def _path(environ: Environ) -> str:
    """Return the path below the mount point as ASGI has it: PEP 3333 hands over bytes, read as Latin-1."""
    path: str = environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _accept(environ: Environ) -> tuple[tuple[bytes, bytes], ...]:
    accept = environ.get("HTTP_ACCEPT")
    return () if accept is None else ((b"accept", _bytes(accept)),)


def _headers(environ: Environ) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers of *environ*: of each name one, and `_` in a name cannot be told from `-`."""
    for key, value in environ.items():
        if key.startswith("HTTP_") and key not in _NO_HEADERS:
            yield _bytes(key[5:].replace("_", "-").lower()), _bytes(value)
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            yield _bytes(key.replace("_", "-").lower()), _bytes(environ[key])


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "backslashreplace")
