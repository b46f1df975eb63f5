"""Load on one server over connections that stay open, in bursts that are small enough to interleave.

A burst sends one request on every connection, then reads every answer, and so on. That keeps a server as busy as
`wrk` does (a client in Python needs half of what uvicorn needs), counts exactly, and lasts milliseconds: many bursts
that take turns find the cost that nothing disturbed sooner than a few long ones.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

CONNECTIONS = 64
_PATIENCE_SECONDS = 30
_IDLE_SECONDS = 2  # uvicorn closes after 5


class LoadError(Exception):
    """An answer was not a good one (2xx), or the server closed a connection."""


class Client:
    """Keeps connections to one server.

    Args:
        port: Where it listens on 127.0.0.1.
        path: What is asked.
        connections: How many it keeps.
    """

    def __init__(self, port: int, path: str, connections: int = CONNECTIONS) -> None:
        self._port = port
        self._connections = connections
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()
        self._length = 0
        self._sockets: list[socket.socket] = []
        self._asked_at = -math.inf

    def burst(self, times: int) -> float:
        """Ask *times* on every connection and return how many seconds that took.

        Raises:
            LoadError: An answer was not a good one.
        """
        self.connect()
        began = time.perf_counter()
        for _ in range(times):
            for each in self._sockets:
                each.send(self._request)
            for each in self._sockets:
                answer = each.recv(65536)
                # Most answers are as long as the last one; only then is it worth to look where this one ends.
                if len(answer) != self._length:
                    self._length = _read_rest(each, answer)
        self._asked_at = time.perf_counter()
        return self._asked_at - began

    def connect(self) -> None:
        """Open the connections, and open them anew before the server closes them for being idle."""
        if time.perf_counter() - self._asked_at < _IDLE_SECONDS:
            return
        self.close()
        address = ("127.0.0.1", self._port)
        self._sockets = [socket.create_connection(address, _PATIENCE_SECONDS) for _ in range(self._connections)]

    def close(self) -> None:
        """Close every connection."""
        for each in self._sockets:
            each.close()


@contextmanager
def connected(port: int, path: str, connections: int = CONNECTIONS) -> Iterator[Client]:
    """Keep a client for as long as the block takes."""
    client = Client(port, path, connections)
    try:
        yield client
    finally:
        client.close()


def _read_rest(connection: socket.socket, answer: bytes) -> int:
    """Read on from *answer* to its end and return how long it is."""
    while not _complete(answer):
        part = connection.recv(65536)
        if not part:
            raise LoadError(f"the connection was closed after {answer[:60]!r}")
        answer += part
    return len(answer)


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 2"):
        raise LoadError(f"answered {head[:60]!r}")
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return length is None or len(body) >= int(length[1])
