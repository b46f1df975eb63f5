"""Requests as they are written, over one connection: nothing is normalised on the way."""

from __future__ import annotations

import http.client
import json
from typing import NamedTuple

THEIRS = {"date", "server", "connection", "transfer-encoding", "keep-alive"}
"""Headers that belong to the connection, or that a server adds to every answer."""


class Answer(NamedTuple):
    """What came back: code, headers but the server's, in no order, and body."""

    code: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self):
        """The body as JSON; what is none is itself."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body


class Connection:
    """A connection that is opened again where the server ends it after an answer."""

    def __init__(self, port: int, timeout_seconds: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def ask(self, method: str, path: str, headers=(), body: bytes | None = None) -> Answer:
        """Return the answer; a connection that the server has ended meanwhile is opened again, as every client does."""
        try:
            return self._ask(method, path, headers, body)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self._connection.close()
            return self._ask(method, path, headers, body)

    def _ask(self, method, path, headers, body):
        host = any(name == "Host" for name, _ in headers)
        self._connection.putrequest(method, path, skip_host=host, skip_accept_encoding=True)
        for name, value in headers:
            self._connection.putheader(name, value)
        if body is not None:
            self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        found = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, tuple(sorted(each for each in found if each[0] not in THEIRS)), response.read())

    def close(self) -> None:
        """Close it."""
        self._connection.close()
