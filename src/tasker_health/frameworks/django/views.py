"""The two views: one for ASGI, one for WSGI. Both hand the request to a skin and change nothing of its answer."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpResponse

from tasker_health.access.django import HANDED
from tasker_health.frameworks.django.lifespan import Lifespan
from tasker_health.health import Health
from tasker_health.web.asgi import AsgiSkin, Message
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.wsgi import WsgiSkin

Headers = Sequence[tuple[str, str]]


class _Everything:
    """Every database: a probe opens a transaction on none, whatever its ATOMIC_REQUESTS says."""

    def __contains__(self, _alias: object) -> bool:
        return True


_OF_A_VIEW = {"csrf_exempt": True, "login_required": False, "_non_atomic_requests": _Everything()}
"""What Django's own middleware and handler read from a view: a probe has no token, no user and no transaction."""


_NOWHERE_ELSE: tuple[()] = ()
"""Where LocaleMiddleware and CommonMiddleware look for a page to redirect to when an answer is 404."""


class Probes:
    """The views of *health*; each takes Django's request and the path below where the URLs are included."""

    def __init__(self, health: Health) -> None:
        self.health = health

        # Captured: by a variable in the prefix under which the URLs are included.
        def probe(request: Any, path: str, **_captured: Any) -> HttpResponse:
            request.urlconf = _NOWHERE_ELSE
            return self._answer(request, path)

        async def async_probe(request: Any, path: str, **_captured: Any) -> HttpResponse:
            request.urlconf = _NOWHERE_ELSE
            return await self._answer_async(request, path)

        vars(probe).update(_OF_A_VIEW)
        vars(async_probe).update(_OF_A_VIEW)
        self.view, self.async_view = probe, async_probe

    @functools.cached_property
    def _endpoints(self) -> Endpoints:
        return self.health.endpoints

    @functools.cached_property
    def _wsgi(self) -> WsgiSkin:
        return self.health.wsgi()

    @functools.cached_property
    def _asgi(self) -> AsgiSkin:
        return self.health.asgi()

    @functools.cached_property
    def _lifespan(self) -> Lifespan:
        return Lifespan(self._asgi)

    def _known(self, request: Any, method: str, path: str) -> HttpResponse | None:
        """Return the answer that was given before and still serves; who drains has a header more to send."""
        if self._endpoints.is_draining():
            return None
        accept = request.META.get("HTTP_ACCEPT")
        headers = () if accept is None else ((b"accept", accept.encode("latin-1", "replace")),)
        answer = self._endpoints.at_once(method, path, headers, request.META.get("QUERY_STRING", ""))
        if answer is None:
            return None
        return ProbeResponse(answer.status, answer.text_headers, b"" if method == "HEAD" else answer.body)

    def _answer(self, request: Any, path: str) -> HttpResponse:
        # The method as it came: Django's own is in capitals, whatever was sent.
        known = self._known(request, request.environ["REQUEST_METHOD"], path)
        if known is not None:
            return known
        raw = path.encode("utf-8", "replace").decode("latin-1")
        started: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: Headers) -> None:
            started.append((status, headers))

        body = b"".join(self._wsgi({**request.environ, "PATH_INFO": raw, **_handed(request)}, start_response))
        ((status, headers),) = started
        return ProbeResponse(int(status.partition(" ")[0]), headers, body)

    async def _answer_async(self, request: Any, path: str) -> HttpResponse:
        self._lifespan.begin()
        known = self._known(request, request.scope["method"], path)
        if known is not None:
            return known
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        # Django's own client for tests has the query as text, where ASGI has bytes.
        query = request.META.get("QUERY_STRING", "").encode("latin-1", "replace")
        own = {"path": path, "root_path": "", "query_string": query, **_handed(request)}
        await self._asgi({**request.scope, **own}, receive, send)
        start, end = sent
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
        return ProbeResponse(start["status"], headers, end["body"])


class ProbeResponse(HttpResponse):  # type: ignore[misc]  # Django has no types
    """An answer as it came from a skin."""

    _has_been_logged = True  # or each probe of a pod that is not ready would mail ADMINS, as any 503 does

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        together: dict[str, str] = {}
        for name, value in headers:
            together[name] = f"{together[name]}, {value}" if name in together else value
        super().__init__(body, status=status, headers=together)
        self._sent = headers
        self._together = together

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield the headers; one that came more than once does so again, unless middleware has changed it."""
        for name, value in super().items():
            if value == self._together.get(name):
                yield from (pair for pair in self._sent if pair[0] == name)
            else:
                yield name, value


def _handed(request: Any) -> dict[str, Any]:
    """Return what tells the authenticator `django` of the user whom the project's middleware knows."""
    return {HANDED: request} if hasattr(request, "user") else {}
