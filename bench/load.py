"""Load on one URL over connections that stay open: `wrk` where it is installed, a small client of our own elsewhere.

Ours needs more time a request than the server under measurement, so the server idles between its questions and each
costs it a little more: ratios are then nearer to 1 than under `wrk`.
"""

from __future__ import annotations

import re
import selectors
import shutil
import socket
import subprocess
import time
from urllib.parse import urlsplit

from bench.machine import CLIENT_CORE, pin

CONNECTIONS = 64


class LoadError(Exception):
    """The load could not be put on, or was answered with something else than 2xx."""


def client() -> str:
    """Return the name of the client that is used."""
    return "wrk" if shutil.which("wrk") else "the client of bench/load.py (wrk is not installed)"


def put_on(url: str, seconds: int = 1, connections: int = CONNECTIONS) -> tuple[int, float]:
    """Ask *url* for *seconds*; return how many answers came and in how many seconds.

    Raises:
        LoadError: An answer was not 2xx, or none came.
    """
    asked, took = _wrk(url, seconds, connections) if shutil.which("wrk") else _own(url, seconds, connections)
    if not asked:
        raise LoadError(f"{url}: no answers")
    return asked, took


def _wrk(url: str, seconds: int, connections: int) -> tuple[int, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        pin(process.pid, CLIENT_CORE)
        said = process.communicate(timeout=seconds + 30)[0]
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", said)
    if found is None or "Non-2xx" in said:
        raise LoadError(f"{url}: {said}")
    return int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]


def _own(url: str, seconds: int, connections: int) -> tuple[int, float]:
    parts = urlsplit(url)
    request = f"GET {parts.path or '/'}{'?' if parts.query else ''}{parts.query} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    waiting: dict[socket.socket, bytes] = {}
    asked, began = 0, time.monotonic()
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(connections):
                each = socket.create_connection((str(parts.hostname), int(parts.port or 80)), 10)
                selector.register(each, selectors.EVENT_READ)
                waiting[each] = b""
                each.sendall(request)
            while (now := time.monotonic()) - began < seconds:
                for key, _ in selector.select(1):
                    connection: socket.socket = key.fileobj  # type: ignore[assignment]
                    waiting[connection] += connection.recv(65536)
                    if _complete(url, waiting[connection]):
                        asked += 1
                        waiting[connection] = b""
                        connection.sendall(request)
        finally:
            for each in waiting:
                each.close()
    return asked, now - began


def _complete(url: str, answer: bytes) -> bool:
    if not answer:
        raise LoadError(f"{url}: the connection was closed")
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 2"):
        raise LoadError(f"{url}: {head[:60]!r}")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return length is None or len(body) >= int(length[1])
