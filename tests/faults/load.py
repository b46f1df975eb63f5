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
PATIENCE_SECONDS = 15

_numbers = itertools.count()


@dataclass(frozen=True)
class Request:
    """One request over a connection of its own, and its answer.

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
            asked.add(asyncio.create_task(self._ask("POST" if number % POST_EVERY == 0 else "GET")))
        await asyncio.gather(*asked)

    async def _ask(self, method):
        name = f"{method.lower()}-{next(_numbers)}"
        began = time.monotonic()
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self._exchange(f"{method} /orders/{name}")
        code = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
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

    async def _exchange(self, line):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            length = "Content-Length: 0\r\n" if line.startswith("POST") else ""
            writer.write(f"{line} HTTP/1.1\r\nHost: orders\r\n{length}Connection: close\r\n\r\n".encode())
            return await reader.read()
        finally:
            writer.close()
