"""One GET after the other on one connection, by the standard library; it only blocks, so a thread calls it.

What comes is not trusted: its size is bounded here, its time by who waits, through `abort`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from typing import NamedTuple

from tasker_health.cli.top.target import Target

LARGEST_ANSWER = 8 << 20
"""Sixteen times what the fleet's history may take in a cache."""

_PIECE = 1 << 16
_BROKEN_OFF = "the connection broke off; did the server end, or is it https://?"
_NO_HTTP = "what answers there does not speak HTTP; is this the right port?"
_WORDS: dict[type[Exception], str] = {
    TimeoutError: "no answer within {:g} s; is the server hung?",
    ssl.SSLError: "what answers there does not speak TLS; is it http://?",
    ConnectionRefusedError: "Connection refused; is the server started, and is this its address?",
    ConnectionError: _BROKEN_OFF,
    http.client.IncompleteRead: _BROKEN_OFF,
    UnicodeError: "no host has such a name; is it spelt right?",
    http.client.HTTPException: _NO_HTTP,
    ValueError: _NO_HTTP,  # such as a chunk of a length below nothing
}
"""The first that an error is an instance of says why there is no answer."""


class Answer(NamedTuple):
    """What came: the code and the body."""

    status: int
    body: bytes


class NoAnswerError(Exception):
    """There is nothing to be shown; the message says why and what to do."""


class Exchange:
    """Keeps a connection to *target*, and opens it anew when it was closed.

    Args:
        target: Who is asked.
        patience_seconds: Longest silence.
    """

    def __init__(self, target: Target, patience_seconds: float) -> None:
        self._target = target
        self._patience_seconds = patience_seconds
        self._connection: http.client.HTTPConnection | None = None
        self._aborted = False

    def get(self, name: str) -> Answer:
        """Return the answer of the endpoint *name*, such as `status`.

        Raises:
            NoAnswerError: There is none, or it is larger than any of ours.
        """
        kept = self._connection is not None
        try:
            return self._once(name)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            # A server closes what is idle; only a fresh connection that fails says anything.
            if kept and not self._aborted and not isinstance(error, TimeoutError):
                return self._afresh(name)
            raise NoAnswerError(_why(error, self._patience_seconds)) from None

    def abort(self) -> None:
        """Break off what a thread is waiting for."""
        self._aborted = True
        connection = self._connection
        sock = getattr(connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _afresh(self, name: str) -> Answer:
        try:
            return self._once(name)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise NoAnswerError(_why(error, self._patience_seconds)) from None

    def _once(self, name: str) -> Answer:
        connection = self._connection or self._open()
        headers = {"Accept": "application/json"}
        if self._target.authorization is not None:
            headers["Authorization"] = self._target.authorization
        connection.request("GET", f"{self._target.path}/{name}", headers=headers)
        response = connection.getresponse()
        body = _body(response)
        if len(body) > LARGEST_ANSWER:
            self.close()
            raise NoAnswerError(f"answers more than {LARGEST_ANSWER >> 20} MiB; is this a health endpoint?")
        if response.length:  # a read of so many bytes does not say that there were fewer
            raise http.client.IncompleteRead(body, response.length)
        if response.will_close:
            self.close()
        return Answer(response.status, body)

    def _open(self) -> http.client.HTTPConnection:
        target, seconds = self._target, self._patience_seconds
        connection: http.client.HTTPConnection
        if target.context is None:
            connection = http.client.HTTPConnection(target.host, target.port, timeout=seconds)
            connection.connect()
        else:
            connection = http.client.HTTPConnection(target.host, target.port, timeout=seconds)
            plain = socket.create_connection((target.host, target.port), seconds)
            try:
                connection.sock = target.context.wrap_socket(plain, server_hostname=target.server_name or target.host)
            except BaseException:
                plain.close()
                raise
        self._connection = connection
        return connection


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the body, or as much of it as tells that it is too large.

    Chunks are read piece by piece: `read` takes one of length -1 for all that will ever come.
    """
    if not response.chunked:
        return response.read(LARGEST_ANSWER + 1)
    body = bytearray()
    while len(body) <= LARGEST_ANSWER and (piece := response.read1(_PIECE)):
        body += piece
    return bytes(body)


def _why(error: Exception, patience_seconds: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused: {error.verify_message};"
            " --ca-file names whom to trust, --server-name the name in it"
        )
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words.format(patience_seconds)
    words = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"{words}; is the server started, and is this its address?"
