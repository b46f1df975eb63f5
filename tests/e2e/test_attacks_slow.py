"""Senders who want to hold what others need: connections, memory, patience. Others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import httpx
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from served import served
from server import wait_until
from tasker_health.web.patience import LONGEST_HEAD, MOST_WAITING, PatientProtocol

PATIENCE_SECONDS = 60
BEGUN = b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nX: "


@pytest.fixture(scope="module")
def server():
    """A server over plain HTTP."""
    with served() as running:
        yield running


def connect(server):
    """Return a new connection to *server*."""
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port), PATIENCE_SECONDS)


def is_served(server):
    """Return whether somebody else is answered."""
    return server.get("live").status_code == 200


def rest_of(connection):
    """Return what *connection* still brings, to its end."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize("line", [b"a" * 10_000, b"a\r\nX: " * 2000], ids=["one header", "many headers"])
def test_headers_without_an_end_are_refused(server, line):
    """431 and the end of the connection, long before they fill the memory."""
    sent = 0
    with connect(server) as connection:
        connection.sendall(BEGUN)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while sent < 100 * LONGEST_HEAD:
                sent += connection.send(line)
        assert rest_of(connection).startswith(b"HTTP/1.1 431 ") or sent < 100 * LONGEST_HEAD
    assert sent < 100 * LONGEST_HEAD
    assert is_served(server)


def test_long_headers_that_come_at_once_are_refused(server):
    """431, and the connection ends."""
    with connect(server) as connection:
        connection.sendall(BEGUN + b"a" * (LONGEST_HEAD + 1) + b"\r\n\r\n")
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_headers_up_to_the_limit_are_taken(server):
    """In one piece or in many."""
    head = BEGUN + b"a" * (LONGEST_HEAD - 100) + b"\r\nConnection: close\r\n\r\n"
    for size in (len(head), 4096):
        with connect(server) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin in range(0, len(head), size):
                connection.sendall(head[begin : begin + size])
            assert rest_of(connection).startswith(b"HTTP/1.1 200 ")


def test_who_only_connects_makes_room(server):
    """Beyond the limit of those who wait, the oldest is sent away; somebody with a request is always served."""
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(connect(server)) for _ in range(3 * MOST_WAITING)]
        assert is_served(server)
        wait_until(lambda: len(list(descriptors.iterdir())) < 2 * MOST_WAITING, "the oldest have made room")
        assert rest_of(silent[0]) == b""


LONG_BODY = b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"


TRICKLES = {
    "nothing": (b"", b""),
    "a header by the byte": (BEGUN, b"a"),
    "empty lines": (b"", b"\r\n"),
    "a body by the byte": (LONG_BODY, b"a"),
}


def test_who_sends_a_little_now_and_then_is_sent_away(server):
    """Whatever keeps coming, a request has its time, and then the connection ends."""
    with contextlib.ExitStack() as opened:
        trickling = {name: opened.enter_context(connect(server)) for name in TRICKLES}
        for name, connection in trickling.items():
            connection.sendall(TRICKLES[name][0])
            connection.settimeout(0.05)

        def have_ended():
            for name in list(trickling):
                with contextlib.suppress(TimeoutError):
                    try:
                        trickling[name].sendall(TRICKLES[name][1])
                        ended = trickling[name].recv(65536) == b""
                    except (ConnectionResetError, BrokenPipeError):
                        ended = True
                    if ended:
                        del trickling[name]
            return not trickling

        wait_until(have_ended, f"{trickling.keys()} have ended")
    assert is_served(server)


class Transport(asyncio.Transport):
    """Takes what is sent, and does nothing."""

    def write(self, data):
        """Take *data*."""

    def close(self):
        """Stay as it is."""

    def is_closing(self):
        """Answer that it is open."""
        return False


def test_what_comes_behind_a_body_is_no_header():
    """Trailers are dropped: a proxy that vouches for headers need not have seen them."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def run():
        config = Config(app, log_config=None, lifespan="off", http=PatientProtocol)
        config.load()
        protocol = PatientProtocol(config, ServerState(), {})
        protocol.connection_made(Transport())
        head = b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        protocol.data_received(head + b"0\r\nX-Client-Verify: SUCCESS\r\n\r\n")
        await asyncio.wait(protocol.tasks)
        protocol.connection_lost(None)

    asyncio.run(run())
    assert [name for name, _ in seen[0]] == [b"host", b"transfer-encoding"]
