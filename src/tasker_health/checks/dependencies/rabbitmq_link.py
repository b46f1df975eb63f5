"""One connection and one channel to a RabbitMQ, by aiormq, on which aio-pika stands; only the check knows this module.

aio-pika itself hides the transport, which must be had to close it at once, and logs each attempt that fails as an
error: so the transport is opened here, and given to aiormq.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Container, Iterator
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel
from aiormq.connection import TransportFactory
from yarl import URL

from tasker_health.checks.dependencies.place import Place
from tasker_health.checks.dependencies.transport import abandon
from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import Reason

_MOST_BYTES = 32_768
"""What comes from one question to the next; the answers have some hundred bytes, a heartbeat eight."""

_HEARTBEAT_SECONDS = 30
_NOT_AMQP = "what it answers is not AMQP"
_BODY = b"\x03"
"""A frame that no answer to a question of ours has: what is returned to us is empty."""

_CLOSE = b"\x00\x0a\x00\x32"
_REST = 2
_REFUSALS = (
    (b"limit", Reason.TOO_MANY_CONNECTIONS),
    (b"not found", Reason.MISSING),
    (b"refused", Reason.AUTHENTICATION_FAILED),
)
"""What is said of a virtual host that is not opened."""


class _Reader(asyncio.StreamReader):
    """Reads frames, no more of them than a broker has to say to us; it knows the last one.

    Attributes:
        last: What was read last.
        channels: The numbers of those that are open.
        abort: Closes the connection at once.
        idle: Whether nobody asks. What ends the connection then is no news for a log: the next question finds out.
    """

    last = b""
    channels: Container[int] = ()
    abort: Callable[[], None]
    idle = False
    _left = _MOST_BYTES
    _part = 0

    def begin(self) -> None:
        """Count anew what comes."""
        self._left = _MOST_BYTES

    async def readexactly(self, n: int) -> bytes:
        """Return the next part of a frame: its kind, its channel and length, or the rest."""
        try:
            return await self._read(n)
        except (CheckFailed, OSError, EOFError):
            if not self.idle:
                raise
            self.abort()
            raise asyncio.CancelledError from None  # aiormq would log any other with its traceback

    async def _read(self, n: int) -> bytes:
        if n > self._left:
            raise CheckFailed(Reason.INVALID, _NOT_AMQP)
        self._left -= n
        before, self.last = self.last, await super().readexactly(n)
        if self._part == 1 and (before == _BODY or not self._is_open(int.from_bytes(self.last[:2]))):
            raise CheckFailed(Reason.INVALID, _NOT_AMQP)
        if self._part == _REST and self.idle and before.startswith(b"\0\0") and self.last.startswith(_CLOSE):
            raise EOFError
        self._part = (self._part + 1) % 3
        return self.last

    def _is_open(self, channel: int) -> bool:
        return not channel or channel in self.channels


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

    def __init__(self, connection: Connection, transport: asyncio.WriteTransport, reader: _Reader) -> None:
        self.connection = connection
        self.channel: AbstractChannel
        self._reader = reader
        self._transport = transport

    @property
    def is_usable(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return self.connection.is_opened and not self.channel.is_closed

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Tell that a question is asked meanwhile."""
        self._reader.begin()
        self._reader.idle = False
        try:
            yield
        finally:
            self._reader.idle = True

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
    reader = _Reader(limit=_MOST_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=tls)
    connection = Connection(
        _url(place, name), transport_factory=_Given(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    )
    reader.channels, reader.abort = connection.channels, transport.abort
    link = RabbitMqLink(connection, transport, reader)
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
    if not last.startswith(_CLOSE):
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
