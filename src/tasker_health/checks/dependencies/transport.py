"""Transports of asyncio that are closed at once, from wherever that must be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any


def abandon(transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop, drop: Callable[[], None]) -> None:
    """Close *transport* from outside of *loop*, its own, which has ended; one that has not is told to *drop* it."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(drop)
        return
    # Transports close their sockets in a turn of their loop, and there is none: we do what that turn would do.
    with contextlib.suppress(Exception):
        transport.abort()  # type: ignore[attr-defined]
    inner: Any = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
    with contextlib.suppress(Exception):
        inner._call_connection_lost(None)  # noqa: SLF001 -- as above
