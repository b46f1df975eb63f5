"""The HTTP session of OTLP's official exporter, made such that whoever answers can do no harm.

requests bounds each reading of a socket, but not the answer: it may go on for ever, and be of any length. Here what is
read of it is bounded, and `cut` ends whatever the session is waiting for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, NamedTuple

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
    """The connections of one session, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._is_cut = False

    def add(self, line: socket.socket) -> None:
        """Know *line* in place of the one before.

        Raises:
            requests.ConnectionError: They are cut.
        """
        # A copy: TLS takes the socket over, and whoever waits in its handshake can be reached by nothing else.
        copy = line.dup()
        with self._lock:
            before, self._line = self._line, copy
        _close(before)
        self.allow()

    def allow(self) -> None:
        """Do nothing, while they are not cut.

        Raises:
            requests.ConnectionError: They are: the exporter would begin again at once.
        """
        if self._is_cut:
            raise requests.ConnectionError("it was given up")

    def drop(self) -> None:
        """Forget the connection, which is closed; the other side sees it only when the copy is, too."""
        with self._lock:
            line, self._line = self._line, None
        _close(line)

    def cut(self) -> None:
        """End what is under way, and let nothing begin."""
        self._is_cut = True
        with self._lock:
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)


def _close(line: socket.socket | None) -> None:
    if line is not None:
        line.close()


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
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                lines.add(line)
                return line

            def close(self) -> None:
                super().close()
                lines.drop()

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                lines.add(line)
                return line

            def close(self) -> None:
                super().close()
                lines.drop()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
