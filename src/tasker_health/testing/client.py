"""Asks the endpoints of a `Health` in process, without a server and without a framework."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tasker_health.health import Health
    from tasker_health.web.wsgi import WsgiSkin


@dataclass(frozen=True)
class Response:
    """What was answered.

    Attributes:
        status_code: Such as 200.
        headers: By name in lower case.
        content: The body.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode()

    def json(self) -> Any:
        """Return the body as JSON says it.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.content)


class HealthClient:
    """Asks *health* as a prober does. A context manager.

    What waits is awaited on an event loop in a thread, so that a test needs none; *health* belongs to that loop until
    the client is closed. In an async test that awaits `health.ready()` itself, do without this client.

    Args:
        health: Who is asked.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._skin: WsgiSkin | None = None  # made at the first question: until then checks can be added

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return what is answered to GET *path*, such as `/tasker/health/ready`."""
        return self.request("GET", path, headers)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return what is answered to *method* *path*."""
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, found: list[tuple[str, str]]) -> None:
            begun.append((status, found))

        if self._skin is None:
            self._skin = self._health.wsgi()
        body = b"".join(self._skin(_environ(method, path, headers or {}), start_response))
        ((status, found),) = begun
        return Response(int(status.split()[0]), {name.lower(): value for name, value in found}, body)

    def close(self) -> None:
        """Stop *health*, and end the thread; another question begins anew."""
        if self._skin is not None:
            self._skin.stop()


def _environ(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return environ
