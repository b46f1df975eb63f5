"""HTTP connections of `serve`: uvicorn's, with a bound on how long a request takes to come, and on its headers."""

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


LONGEST_HEAD = 64 * 1024
"""Most bytes of the headers of a request."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class PatientProtocol(HttpToolsProtocol):
    """One connection.

    Who sends nothing, a little now and then, or headers without an end would hold it, and memory, for ever: uvicorn
    with httptools knows no limit. Between two requests it waits some seconds itself.

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
        self._is_coming = self._in_head = False
        self._may_be_long = self._is_too_long = False
        self._unread_bytes = 0

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
        was_in_head = self._in_head
        self._may_be_long = was_in_head or len(data) > LONGEST_HEAD
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._in_head:
            self._unread_bytes += len(data)
            if self._unread_bytes > LONGEST_HEAD:
                self._send_431()
                return
        if self._is_coming or self.cycle is None or self.cycle.response_complete:
            self._wait()

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        super().on_message_begin()
        self._is_coming = self._in_head = True
        self._unread_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that the headers are there.

        Raises:
            ValueError: They are too long; the parser gives the request up.
        """
        self._in_head = False
        if self._may_be_long and sum(len(name) + len(value) for name, value in self.headers) > LONGEST_HEAD:
            self._is_too_long = True
            raise ValueError
        super().on_headers_complete()
        # What comes behind a body is no header: a proxy that vouches for headers need not have seen it.
        self.headers = []

    def send_400_response(self, msg: str) -> None:
        """Say that what has come is no request, or is too long for one."""
        if self._is_too_long:
            self._send_431()
        else:
            super().send_400_response(msg)

    def _send_431(self) -> None:
        self.transport.write(_TOO_LONG)
        self.transport.close()

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
