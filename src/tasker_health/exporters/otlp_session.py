"""The HTTP session of OTLP's official exporter, made such that whoever answers can do no harm.

requests bounds each reading of a socket, but not the answer: it may go on for ever, and be of any length. Here what is
read of it is bounded, and `cut` ends whatever the session is waiting for.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, NamedTuple
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

MOST_BYTES = 65_536
"""How much of an answer is read: one that tells of success has a few bytes."""


class Outcome(NamedTuple):
    """What came of one request.

    Attributes:
        status: The code of the answer; 0: there was none.
        retry_after: The value of that header.
        content_type: The media type of the answer.
        body: At most `MOST_BYTES` of it.
        error: Why there was no answer.
    """

    status: int = 0
    retry_after: str = ""
    content_type: str = ""
    body: bytes = b""
    error: Exception | None = None


class Session(requests.Session):
    """Remembers what came of its latest request.

    Attributes:
        outcome: That; `None`: none was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outcome: Outcome | None = None
        self._lines = _Lines()
        self.headers["Accept-Encoding"] = "identity"  # what is small may else become large
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._lines))

    def send(self, request: Any, **options: Any) -> Any:
        """Send *request*; see `requests.Session.send`."""
        try:
            self._lines.allow()
            response = super().send(request, **{**options, "stream": True})
            with contextlib.closing(response):
                body = response.raw.read(MOST_BYTES, decode_content=False) or b""
        except Exception as error:
            self.outcome = Outcome(error=error)
            raise
        response._content = body  # noqa: SLF001 -- or it would read on without a bound
        headers = response.headers
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self.outcome = Outcome(response.status_code, headers.get("Retry-After", "").strip(), kind, body)
        return response

    def cut(self) -> None:
        """End every connection, whatever it waits for, for good; from any thread, and at once."""
        self._lines.cut()


class _Lines:
    """The connections of one session."""

    def __init__(self) -> None:
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        self._is_cut = False

    def add(self, connection: HTTPConnection) -> None:
        """Know *connection*."""
        self._connections.add(connection)

    def allow(self) -> None:
        """Do nothing, while they are not cut.

        Raises:
            requests.ConnectionError: They are: the exporter would begin again at once.
        """
        if self._is_cut:
            raise requests.ConnectionError("it was given up")

    def cut(self) -> None:
        """End all of them."""
        self._is_cut = True
        for connection in list(self._connections):
            if isinstance(connection.sock, socket.socket):
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # TLS' own would say goodbye


class _Adapter(HTTPAdapter):
    """Makes connections that *lines* know."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools; see `HTTPAdapter`."""
        super().init_poolmanager(*arguments, **options)
        lines = self._lines

        class Plain(HTTPConnection):
            def connect(self) -> None:
                lines.add(self)
                super().connect()
                lines.allow()

        class Tls(HTTPSConnection):
            def connect(self) -> None:
                lines.add(self)
                super().connect()
                lines.allow()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
