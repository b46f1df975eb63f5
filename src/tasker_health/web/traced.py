"""The ASGI skin of a server whose log tells to which trace of the caller's a request belongs."""

from __future__ import annotations

from typing import Any

from tasker_health.exporters.trace_ids import INCOMING
from tasker_health.web.asgi import AsgiSkin


class TracedSkin(AsgiSkin):
    """Answers as *skin* does, and remembers the headers of each request for whatever is logged meanwhile.

    They are read only when a line is written: a probe that nobody logs costs no more than that.
    """

    def __init__(self, skin: AsgiSkin) -> None:
        # Not that of the base: everything is left to the one within.
        self._traced = skin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection; it has a context of its own."""
        if scope["type"] == "http":
            INCOMING.set(scope["headers"])
        await self._traced(scope, receive, send)

    async def drain(self) -> None:
        """Drain; see `AsgiSkin.drain`."""
        await self._traced.drain()
