"""HTTP connections of `serve` that do not wait for ever: uvicorn's, with a bound on how long a request may take."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

REQUEST_SECONDS = 10.0
"""Longest time from the first byte of a request, or from connecting, to its last."""

MOST_WAITING = 128
"""Most connections that have not brought a whole request yet: with TLS each holds a third of a megabyte."""


class PatientProtocol(HttpToolsProtocol):
    """One connection. Who sends nothing, or a little now and then, would hold it for ever: uvicorn knows no limit.

    Between two requests uvicorn waits some seconds itself.

    Attributes:
        waiting: The connections from which a request is awaited, that which waits for longest first.
    """

    waiting: ClassVar[dict[PatientProtocol, None]] = {}

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._patience: asyncio.TimerHandle | None = None
        self._is_coming = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; wait on when there is more to come and no answer is being made."""
        super().data_received(data)
        if self._is_coming or self.cycle is None or self.cycle.response_complete:
            self._wait()

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        super().on_message_begin()
        self._is_coming = True

    def on_message_complete(self) -> None:
        """Note that it is there as a whole."""
        super().on_message_complete()
        self._has_come()

    def _wait(self) -> None:
        if self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(REQUEST_SECONDS, self._lose_patience)
            self.waiting[self] = None
            if len(self.waiting) > MOST_WAITING:
                next(iter(self.waiting))._lose_patience()  # noqa: SLF001 -- one of us

    def _has_come(self) -> None:
        self._is_coming = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self.waiting.pop(self, None)

    def _lose_patience(self) -> None:
        self._has_come()
        # At once: closing in good order would wait until the client has read what is left to be sent.
        self.transport.abort()
