"""A server that says what a test wants, byte by byte, and knows what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from datetime import UTC, datetime

import msgspec

from tasker_health.assessment import Reading, assess
from tasker_health.model import CacheInfo, CheckResult, CheckStatus, Readiness, StatusReport
from tasker_health.settings import HealthSettings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def http(body, status=200, headers=""):
    """Return an answer as bytes."""
    body = body if isinstance(body, bytes) else body.encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def report_of(*facts, cached=False, age_seconds=0, fault=None):
    """Return the report over sources with these *facts*, as the service makes it."""
    readings = [
        Reading(name=f"shop{n}", facts=each, read_at=NOW.timestamp(), fault=fault) for n, each in enumerate(facts)
    ]
    assessment = assess(readings, HealthSettings(), NOW.timestamp())
    values = {name: getattr(assessment, name) for name in assessment.__struct_fields__}
    info = CacheInfo(cached=cached, cache_expires_at=None, age_seconds=age_seconds)
    return StatusReport(**values, timestamp=NOW, cache_info=info)


def ready_of(**checks):
    """Return a readiness with *checks*, all of them well where there are none."""
    checks = checks or {"database": CheckResult(status=CheckStatus.OK, response_time_ms=3)}
    well = all(each.status is CheckStatus.OK for each in checks.values())
    return Readiness(ready=well, checks=checks, timestamp=NOW)


def encoded(value, status=200):
    """Return *value* as an answer of JSON."""
    is_struct = isinstance(value, msgspec.Struct)
    return http(msgspec.json.encode(value) if is_struct else json.dumps(value), status)


class Answering:
    """Listens on a port of its own.

    Attributes:
        answers: By the last word of the path: bytes, or a function that is given the socket.
        asked: The heads of all requests.
        connections: How many were opened.
    """

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.connections = 0
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._open.append((connection, thread))
            thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while line := reader.readline():
                head = [line, *iter(reader.readline, b"\r\n")]
                self.asked.append(b"".join(head).decode())
                answer = self.answers.get(line.split()[1].decode().rpartition("/")[2], http("{}", 404))
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)

    def end(self):
        """Close everything."""
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection, thread in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)
