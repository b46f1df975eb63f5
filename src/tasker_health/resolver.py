"""Looks a host's name up, in a thread of ours, one for each name at a time.

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
    """Looks names up on one event loop; a look-up that hangs is shared by all who ask for that host, not repeated."""

    def __init__(self) -> None:
        self._pending: dict[str, asyncio.Future[Any]] = {}

    async def resolve(self, host: str) -> None:
        """Pass when *host* has an address, is one, or is a socket's path.

        Raises:
            OSError: It has none.
            TimeoutError: Too many look-ups hang already.
        """
        if not host or host.startswith("/") or _is_address(host):
            return
        lookup = self._pending.get(host)
        if lookup is None or lookup.done():
            lookup = self._pending[host] = in_thread(lambda: socket.getaddrinfo(host, None), "resolver")
            lookup.add_done_callback(retrieve)
        try:
            await asyncio.shield(lookup)
        finally:
            if lookup.done() and self._pending.get(host) is lookup:
                del self._pending[host]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
