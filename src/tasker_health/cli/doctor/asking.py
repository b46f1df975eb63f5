"""Asks a running service as its probers do, and keeps what it says: code, body, and how long that took."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from tasker_health.cli.probe_asking import asked_at, unverified

_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Reply:
    """What came.

    Attributes:
        status: Of HTTP; `None`: none came.
        body: The object in JSON that came with it; empty: it was none.
        seconds: How long that took.
        words: Why none came; empty: not in time.
        refused: Nobody listens there.
    """

    status: int | None
    body: dict[str, Any]
    seconds: float
    words: str = ""
    refused: bool = False

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return round(self.seconds * 1000, 1)


async def fetch(host: str, port: int, path: str, patience_seconds: float, *, secure: bool = False) -> Reply:
    """Return what is answered at *path* within *patience_seconds*; no certificate is verified, as by a kubelet."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience_seconds):
            status, body = await _exchange(asked_at(host), port, path, secure=secure)
    except TimeoutError:
        return Reply(None, {}, time.monotonic() - began)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        words = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no HTTP is spoken there"
        refused = isinstance(error, ConnectionRefusedError)
        return Reply(None, {}, time.monotonic() - began, words, refused)
    seconds = time.monotonic() - began
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    return Reply(status, found if isinstance(found, dict) else {}, seconds)


async def _exchange(host: str, port: int, path: str, *, secure: bool) -> tuple[int, bytes]:
    """Return status and body of one GET.

    Raises:
        OSError: Nobody answers there.
        ValueError: What comes is not HTTP.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=unverified() if secure else None)
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n".encode("ascii", "replace"))
        await writer.drain()
        words = (await reader.readline()).split(b" ")
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004
            raise ValueError
        data = bytearray()
        while len(data) <= _LARGEST_ANSWER and (more := await reader.read(1 << 16)):
            data += more
        return int(words[1]), bytes(data).partition(b"\r\n\r\n")[2]
    finally:
        writer.transport.abort()
