"""A constant load: requests are sent when their time has come, whether or not the ones before are answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
import time
from dataclasses import dataclass

REQUESTS_PER_SECOND = 60
POST_EVERY = 5  # an odd number: of two servers that take turns, neither gets them all
KEPT_EVERY = 3
"""So many requests go over a connection that is kept, if there is one; the others open one of their own."""

PATIENCE_SECONDS = 15

_numbers = itertools.count()


@dataclass(frozen=True)
class Request:
    """One request and its answer.

    Attributes:
        method: GET or POST.
        name: Its own; no other request has it.
        began: By CLOCK_MONOTONIC.
        seconds: Until the answer had come whole.
        code: 0: none came.
        server: The port of who answered; 0: the balancer itself, or nobody.
    """

    method: str
    name: str
    began: float
    seconds: float
    code: int
    server: int


class Load:
    """A load on the balancer at *port* for as long as the context lasts; all are answered, or given up, at its end.

    Attributes:
        requests: Those that are over.
    """

    def __init__(self, port):
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._kept = []
        self.requests: list[Request] = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    async def _run(self):
        asked = set()
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(began + number / REQUESTS_PER_SECOND - time.monotonic())
            if self._over.is_set():
                break
            method = "POST" if number % POST_EVERY == 0 else "GET"
            asked.add(asyncio.create_task(self._ask(method, keeps=number % KEPT_EVERY == 0)))
        await asyncio.gather(*asked)
        for _, writer in self._kept:
            writer.close()

    async def _ask(self, method, *, keeps):
        name = f"{method.lower()}-{next(_numbers)}"
        began = time.monotonic()
        answer = b""
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self._exchange(f"{method} /orders/{name}", keeps=keeps)
        code = re.match(rb"http/1\.[01] (\d{3}) ", answer)
        server = re.search(rb"\r\nx-server: (\d+)", answer)
        request = Request(
            method,
            name,
            began,
            time.monotonic() - began,
            int(code[1]) if code else 0,
            int(server[1]) if server else 0,
        )
        self.requests.append(request)

    async def _exchange(self, line, *, keeps):
        reader, writer = (keeps and self._idle()) or await asyncio.open_connection("127.0.0.1", self._port)
        is_kept = False
        try:
            length = "Content-Length: 0\r\n" if line.startswith("POST") else ""
            connection = "keep-alive" if keeps else "close"
            writer.write(f"{line} HTTP/1.1\r\nHost: orders\r\n{length}Connection: {connection}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = re.search(rb"\r\ncontent-length: (\d+)", head)
            await reader.readexactly(int(body[1]) if body else 0)
            is_kept = keeps and b"\r\nconnection: close" not in head
            return head
        finally:
            if is_kept:
                self._kept.append((reader, writer))
            else:
                writer.close()

    def _idle(self):
        """Return a connection that the balancer has not closed, or `None`."""
        while self._kept:
            reader, writer = self._kept.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None
