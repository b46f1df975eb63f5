"""One HTTP/1.1 connection of a prober or of a client, asked until it is used up."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

import h11

_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Head:
    """The beginning of an answer: its code, and its headers by name in small letters."""

    code: int
    headers: dict[str, str]


class Connection:
    """An open connection.

    Args:
        reader: What comes.
        writer: Where to.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Connection:
        """Return a new one.

        Raises:
            OSError: There is nobody.
        """
        return cls(*await asyncio.open_connection(host, port, ssl=tls))

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: nobody has said or done otherwise."""
        return self._http.our_state is h11.IDLE and not self._reader.at_eof()

    async def ask(self, target: str, headers: dict[str, str]) -> Head:
        """Send GET *target*, and return the beginning of the answer.

        Raises:
            OSError, h11.RemoteProtocolError: There is none, or it is not HTTP.
        """
        request = h11.Request(method="GET", target=target or "/", headers=list(headers.items()))
        self._writer.write(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        await self._writer.drain()
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        names = ((name.decode().lower(), value.decode("latin-1")) for name, value in event.headers)
        return Head(event.status_code, dict(names))

    async def body(self, limit_bytes: int | None = None) -> bytes:
        """Return what follows, at most *limit_bytes* of it.

        Raises:
            OSError, h11.RemoteProtocolError: It is cut off.
        """
        read = b""
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            read += bytes(event.data)
            if limit_bytes is not None and len(read) >= limit_bytes:
                return read[:limit_bytes]
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return read

    def drop(self) -> None:
        """Close it, and wait for nothing."""
        self._writer.close()

    async def close(self) -> None:
        """Close it."""
        self.drop()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _event(self):
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK_BYTES))
        if isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("the connection was closed")
        return event
