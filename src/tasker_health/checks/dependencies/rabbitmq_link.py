"""One connection and one channel to a RabbitMQ, by aiormq, on which aio-pika stands; only the check knows this module.

aio-pika itself hides the transport, which must be had to close it at once, and logs each attempt that fails as an
error: so the transport is opened here, and given to aiormq.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel
from aiormq.connection import TransportFactory
from yarl import URL

from tasker_health.checks.dependencies.place import Place
from tasker_health.checks.dependencies.transport import abandon
from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import Reason

_LONGEST_FRAME = 1_048_576
"""RabbitMQ's own are 128 KiB at most, unless it is told otherwise."""

_HEARTBEAT_SECONDS = 30
_REFUSALS = (
    (b"limit", Reason.TOO_MANY_CONNECTIONS),
    (b"not found", Reason.MISSING),
    (b"refused", Reason.AUTHENTICATION_FAILED),
)
"""What is said of a virtual host that is not opened."""


class _Reader(asyncio.StreamReader):
    """Reads frames, none longer than a broker sends; it knows the last one."""

    last = b""

    async def readexactly(self, n: int) -> bytes:
        if n > _LONGEST_FRAME:
            raise CheckFailed(Reason.INVALID, "what it answers is not AMQP")
        self.last = await super().readexactly(n)
        return self.last


class _Given(TransportFactory):
    """Hands out what is open already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pair = reader, writer

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        del url, kwargs
        return self._pair


class RabbitMqLink:
    """An open connection.

    Attributes:
        connection: Of aiormq.
        channel: With confirms.
    """

    def __init__(self, connection: Connection, transport: asyncio.WriteTransport) -> None:
        self.connection = connection
        self.channel: AbstractChannel
        self._transport = transport

    @property
    def is_usable(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return self.connection.is_opened and not self.channel.is_closed

    async def require_unblocked(self) -> None:
        """Pass when the broker has not said that it takes nothing at present.

        Raises:
            CheckDegraded: It has (`refused`).
        """
        ready = asyncio.ensure_future(self.connection.ready())
        await asyncio.sleep(0)
        if not ready.done():
            ready.cancel()
            raise CheckDegraded(Reason.REFUSED, "it takes no messages: out of memory or disk (connection.blocked)")

    async def renew_channel(self) -> None:
        """Open a channel in the place of one that the broker has closed."""
        self.channel = await self.connection.channel(publisher_confirms=True)

    def drop(self) -> None:
        """Close it at once."""
        reading = getattr(self.connection, "_reader_task", None)
        if reading is not None:
            reading.cancel()  # else it would log what we do as an accident
        self._transport.abort()

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from outside of *loop*."""
        abandon(self._transport, loop, self.drop)


async def opened(place: Place, tls: ssl.SSLContext | None, name: str) -> RabbitMqLink:
    """Return a new link to the broker at *place*, called *name* in its lists.

    Raises:
        CheckFailed: It lets us in, but not into the virtual host.
        Exception: Of aiormq or the operating system; what was opened is closed.
    """
    host, port = place.hosts[0]
    loop = asyncio.get_running_loop()
    reader = _Reader(limit=_LONGEST_FRAME, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=tls)
    connection = Connection(
        _url(place, name), transport_factory=_Given(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    )
    link = RabbitMqLink(connection, transport)
    # In a task: aiormq, when it is cancelled, waits for the other side, and does so no longer without a transport.
    opening = asyncio.ensure_future(_open(link))
    try:
        await asyncio.wait({opening})
    except BaseException:
        opening.add_done_callback(_retrieve)
        link.drop()
        opening.cancel()
        raise
    if opening.cancelled() or opening.exception() is not None:
        link.drop()
        _require_let_in(reader.last)
        if opening.cancelled():
            raise CheckFailed(Reason.UNREACHABLE, "it has ended the connection")
    opening.result()
    return link


async def _open(link: RabbitMqLink) -> None:
    await link.connection.connect()
    await link.renew_channel()


def _require_let_in(last: bytes) -> None:
    """Raise what the last frame says, when it ends the connection: aiormq tells no more than that there was one."""
    if not last.startswith(b"\x00\x0a\x00\x32"):  # Connection.Close
        return
    code = int.from_bytes(last[4:6])
    if code != _NOT_ALLOWED:
        return
    reason = next((reason for words, reason in _REFUSALS if words in last), Reason.ERROR)
    raise CheckFailed(reason, f"the virtual host is not opened ({code})")


_NOT_ALLOWED = 530


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _url(place: Place, name: str) -> URL:
    host, port = place.hosts[0]
    vhost = place.path or "/"
    return URL.build(
        scheme="amqp",
        host=host,
        port=port,
        user=place.user if place.user is not None else "guest",
        password=place.password if place.password is not None else "guest",
        path="/" if vhost == "/" else f"/{vhost.replace('/', '%2F')}",
        encoded=False,
        query={"heartbeat": str(_HEARTBEAT_SECONDS), "name": f"tasker-health {name}"},
    )
