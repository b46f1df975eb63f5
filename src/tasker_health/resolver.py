"""Looks a host's name up, in one thread of ours at a time.

Drivers look it up in the event loop's own pool, which a resolver that hangs would fill, and with it everything else
that the application does there. Who has looked it up here first finds out without them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

from tasker_health.deadline import in_thread, retrieve


class Resolver:
    """Looks names up on one event loop; a look-up that hangs is shared by all who ask, not repeated."""

    def __init__(self) -> None:
        self._lookup: asyncio.Future[Any] | None = None

    async def resolve(self, host: str) -> None:
        """Pass when *host* has an address, is one, or is a socket's path.

        Raises:
            OSError: It has none.
        """
        if not host or host.startswith("/") or _is_address(host):
            return
        if self._lookup is None or self._lookup.done():
            self._lookup = in_thread(lambda: socket.getaddrinfo(host, None), "resolver")
            self._lookup.add_done_callback(retrieve)
        await asyncio.shield(self._lookup)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
