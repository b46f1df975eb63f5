"""A receiver of alerts on this machine: PagerDuty's Events API v2 by its public documentation, and plain webhooks.

The rules are those of "Events API v2 Overview" and "Send an Alert Event" (PagerDuty's developer documentation): which
properties are required, how long they may be, which answers there are, and what a dedup key does. Whatever is POSTed to
another path than `/v2/enqueue` is a webhook, and is kept as it came.

    with EventsReceiver() as receiver:
        ...  # alerts.pagerduty.url = receiver.url, .routing_key = receiver.routing_key, .ca_file = receiver.ca_file
        receiver.misbehave(Answer(429, {"Retry-After": "2"}), Behaviour.RESET)  # the next two connections
        receiver.always = Behaviour.HANG  # every other one
        receiver.incidents  # one for each time that somebody would have been paged
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import deque
from enum import StrEnum
from pathlib import Path
from typing import Self

import trustme

import canary
from events_rules import MOST_BYTES, errors_of
from server import free_port


class Behaviour(StrEnum):
    """How a connection is treated."""

    ANSWER = "answers as it should"
    HANG_BEFORE_TLS = "takes the connection and says nothing"
    HANG = "reads the event, keeps it, and says nothing"
    RESET = "resets the connection"
    RESET_AFTER = "reads the event, keeps it, and resets the connection"
    DRIP = "reads the event, keeps it, and answers one byte at a time, for ever"
    HUGE = "reads the event, keeps it, and answers without end"
    GARBAGE = "reads the event, keeps it, and answers what is not HTTP"
    NO_JSON = "reads the event, keeps it, and answers 202 with what is not JSON"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One that is not as it should be: the event is not kept."""

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


@dataclasses.dataclass
class Incident:
    """What somebody is paged for.

    Attributes:
        state: `triggered`, `acknowledged` or `resolved`.
        events: What was taken under its key while it was open.
    """

    dedup_key: str
    state: str
    events: list[dict]


@dataclasses.dataclass(frozen=True)
class Request:
    """What came, with names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        """Its body, parsed."""
        return json.loads(self.body)


class EventsReceiver:
    """Listens on a free port of 127.0.0.1, by HTTPS, until it is closed.

    Attributes:
        url: `https://127.0.0.1:<port>`; `localhost` is in the certificate too.
        ca_file: PEM file of who signed it.
        routing_key: The only integration key that is one here.
        requests: What came, whatever was answered.
        hooks: What came to other paths than that of PagerDuty, and was taken.
        events: What was taken for PagerDuty.
        refused: Why events were refused with 400.
        incidents: What came of them.
        connections: How many have come.
        sent_bytes: Of answers without end.
        always: How a connection is treated that is not treated specially.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tasker-health-receiver-")
        authority = trustme.CA()
        self.ca_file = str(Path(self._folder.name) / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._tls)
        self.routing_key = canary.watch(secrets.token_hex(16))
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.hooks: list[Request] = []
        self.events: list[dict] = []
        self.refused: list[list[str]] = []
        self.incidents: list[Incident] = []
        self.connections = 0
        self.sent_bytes = 0
        self.always: Behaviour | Answer = Behaviour.ANSWER
        self._script: deque[Behaviour | Answer] = deque()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen, again on the same port after `stop`."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and reset whoever is connected; what was kept stays."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.let_go()

    def let_go(self) -> None:
        """Reset all that are connected, those that hang among them."""
        with self._lock:
            held = list(self._open)
        for each in held:
            _reset(each)

    def close(self) -> None:
        """End."""
        self.stop()
        self._folder.cleanup()

    def misbehave(self, *behaviours: Behaviour | Answer) -> None:
        """Treat each of the next connections as one of *behaviours* says, in their order."""
        with self._lock:
            self._script.extend(behaviours)

    @property
    def held(self) -> int:
        """How many are connected now."""
        return len(self._open)

    @property
    def open_incidents(self) -> list[Incident]:
        """Those that nobody has resolved."""
        return [each for each in self.incidents if each.state != "resolved"]

    def acknowledge(self, dedup_key: str) -> None:
        """Do as a responder who says "I am on it"."""
        next(each for each in self.open_incidents if each.dedup_key == dedup_key).state = "acknowledged"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                behaviour = self._script.popleft() if self._script else self.always
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, behaviour), daemon=True).start()

    def _serve(self, connection: socket.socket, behaviour: Behaviour | Answer) -> None:
        copy = connection.dup()  # TLS takes the socket over; this one stays to be reset
        with self._lock:
            self._open.discard(connection)
            self._open.add(copy)
        try:
            if behaviour is Behaviour.RESET:
                _reset(copy)
            elif behaviour is Behaviour.HANG_BEFORE_TLS:
                _wait_for_end(copy)
            else:
                connection.getpeername()  # raises where nobody is there: wrapped, CPython 3.11 would leave it open
                with self._tls.wrap_socket(connection, server_side=True) as line:
                    self._converse(line, copy, behaviour)
        except (OSError, ValueError):
            pass  # whoever asked has gone, or has no manners
        finally:
            with self._lock:
                self._open.discard(copy)
            connection.close()
            copy.close()

    def _converse(self, line: ssl.SSLSocket, copy: socket.socket, behaviour: Behaviour | Answer) -> None:
        request = _read(line)
        with self._lock:
            self.requests.append(request)
            answer = behaviour if isinstance(behaviour, Answer) else self._taken(request)
        match behaviour:
            case Behaviour.HANG:
                _wait_for_end(line)
            case Behaviour.RESET_AFTER:
                _reset(copy)
            case Behaviour.DRIP:
                for each in b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"z" * 10_000:
                    line.sendall(bytes([each]))
                    time.sleep(0.02)
            case Behaviour.HUGE:
                line.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\r\n")
                for _ in range(100_000):
                    line.sendall(b"x" * 16_384)
                    self.sent_bytes += 16_384
            case Behaviour.GARBAGE:
                line.sendall(secrets.token_bytes(512))
            case Behaviour.NO_JSON:
                line.sendall(_bytes_of(Answer(202, {}, b"<html>hello</html>")))
            case _:
                line.sendall(_bytes_of(answer))

    def _taken(self, request: Request) -> Answer:
        """Return what is answered to *request*, and keep what it says."""
        if request.path != "/v2/enqueue":
            self.hooks.append(request)
            return Answer(200, {"Content-Type": "text/plain"}, b"ok")
        if request.method != "POST":
            return Answer(405)
        if len(request.body) > MOST_BYTES:
            return Answer(413)
        errors = errors_of(request.body, self.routing_key)
        if errors:
            self.refused.append(errors)
            body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return Answer(400, {"Content-Type": "application/json"}, json.dumps(body).encode())
        key = self._enqueued(request.json)
        body = {"status": "success", "message": "Event processed", "dedup_key": key}
        return Answer(202, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _enqueued(self, event: dict) -> str:
        key = event.get("dedup_key") or secrets.token_hex(16)
        self.events.append(event)
        incident = next((each for each in self.open_incidents if each.dedup_key == key), None)
        if incident is None and event["event_action"] == "trigger":
            self.incidents.append(Incident(key, "triggered", [event]))
        elif incident is not None:
            incident.events.append(event)
            if event["event_action"] != "trigger":
                incident.state = {"acknowledge": "acknowledged", "resolve": "resolved"}[event["event_action"]]
        return key


def _read(line: ssl.SSLSocket) -> Request:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(line)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _some(line)
    return Request(method, path, headers, body)


def _some(line: ssl.SSLSocket) -> bytes:
    chunk = line.recv(65_536)
    if not chunk:
        raise ConnectionResetError
    return chunk


def _bytes_of(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} -", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body


def _wait_for_end(line: socket.socket) -> None:
    while line.recv(65_536):
        pass


def _reset(connection: socket.socket) -> None:
    """End *connection* with an RST, in whatever copies it is open."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
