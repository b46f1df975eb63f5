"""Connections that are to speak TLS: accepted and agreed upon, with a bound on how many may be at it at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

HANDSHAKE_SECONDS = 5.0
"""Longest time that a client may take to agree."""

MOST_UNDER_WAY = 64
"""Most handshakes at once: each holds a third of a megabyte. The oldest makes room, so that who is quick gets in."""

_GOODBYE_SECONDS = 1.0
_NO_ROOM_SECONDS = 0.1


class Handshakes:
    """Hands connections on once both sides have agreed.

    An event loop's own server waits for the handshakes of all who connect, however many they are.

    Args:
        listener: Where they connect; not blocking.
        context: What to agree to.
        protocol: Makes what speaks on a connection from then on.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        # The first one is under way for longest.
        self._under_way: dict[asyncio.Task[None], None] = {}

    async def accept(self) -> None:
        """Accept until cancelled; end what is under way then."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError:  # who wanted to connect has left, or there is no descriptor free
                    await asyncio.sleep(_NO_ROOM_SECONDS)
                    continue
                if len(self._under_way) >= MOST_UNDER_WAY:
                    oldest = next(iter(self._under_way))
                    del self._under_way[oldest]
                    oldest.cancel()
                task = loop.create_task(self._agree(connection))
                self._under_way[task] = None
                task.add_done_callback(self._forget)
        finally:
            for task in self._under_way:
                task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)

    async def _agree(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            # An answer never waits until the one before it is acknowledged.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
        except (OSError, asyncio.CancelledError):
            with contextlib.suppress(OSError):
                connection.close()
