"""Asks one endpoint as a prober does: a connection of its own, one GET, and not a moment longer than its patience."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import time
from dataclasses import dataclass

_LONGEST_LINE = 1024


@dataclass(frozen=True)
class Answer:
    """What came.

    Attributes:
        status: Of HTTP; `None`: none came.
        seconds: How long that took.
        words: Why none came.
    """

    status: int | None
    seconds: float
    words: str = ""


async def ask(host: str, port: int, path: str, patience_seconds: float, *, secure: bool) -> Answer:
    """Return what is answered at *path* within *patience_seconds*; no certificate is verified, as by a kubelet."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience_seconds):
            status = await _status(asked_at(host), port, path, secure=secure)
    except TimeoutError:
        return Answer(None, max(time.monotonic() - began, patience_seconds))
    except (OSError, ValueError) as error:
        seconds = min(time.monotonic() - began, patience_seconds / 2)
        words = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no HTTP is spoken there"
        return Answer(None, seconds, words)
    return Answer(status, time.monotonic() - began)


def asked_at(host: str) -> str:
    """Return where to ask who listens on *host*, which can be every address of this machine."""
    plain = host.strip("[]")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return host
    if not address.is_unspecified:
        return plain
    return "127.0.0.1" if isinstance(address, ipaddress.IPv4Address) else "::1"


async def _status(host: str, port: int, path: str, *, secure: bool) -> int:
    """Return the status of one GET.

    Raises:
        OSError: Nobody answers there.
        ValueError: What comes is not HTTP.
    """
    reader, writer = await asyncio.open_connection(
        host, port, ssl=unverified() if secure else None, limit=_LONGEST_LINE
    )
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n".encode("ascii", "replace"))
        await writer.drain()
        words = (await reader.readline()).split(b" ")
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004
            raise ValueError
        return int(words[1])
    finally:
        writer.transport.abort()


def unverified() -> ssl.SSLContext:
    """Return a context that trusts any certificate, as a kubelet does."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
