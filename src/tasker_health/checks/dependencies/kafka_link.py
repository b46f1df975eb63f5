"""One connection to one broker of a Kafka, by aiokafka; only the check knows this module.

Of aiokafka we take what one connection is: connecting, TLS, signing in, the protocol. Its client would open more of
them, ask for metadata by itself, and log each attempt that fails as an error.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from tasker_health.checks.dependencies.transport import abandon
from tasker_health.errors import CheckFailed
from tasker_health.model import Reason

_LONGEST_ANSWER = 262_144
"""A topic of 6,000 partitions; the event loop stands still while it is decoded, 0.1 s at the worst."""

_SIZE = struct.Struct(">i")
_LONGEST_SECONDS = 3600
"""aiokafka's own limit, which the deadline of the check comes before."""


class _Connection(AIOKafkaConnection):  # type: ignore[misc]
    """Reads no answer that is longer than one to our question can be."""

    @staticmethod
    async def _read(self_ref: Any) -> None:
        connection = self_ref()
        if connection is None:
            return
        reader = connection._reader  # noqa: SLF001 -- its own
        del connection
        while True:
            (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
            if not _SIZE.size <= size <= _LONGEST_ANSWER:
                raise EOFError(_NOT_KAFKA)
            answer = await reader.readexactly(size)
            connection = self_ref()
            if connection is None:
                return
            connection._handle_frame(answer)  # noqa: SLF001 -- its own
            del connection


_NOT_KAFKA = "what it answers is not Kafka's protocol"


class KafkaLink:
    """An open connection."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._transport: Any = connection._writer.transport  # noqa: SLF001 -- nothing public has it

    @property
    def is_usable(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return bool(self._connection.connected())

    async def metadata(self, topics: list[str]) -> Any:
        """Return what the broker knows of its cluster and of *topics*; none is made.

        Raises:
            Exception: Of aiokafka or the operating system; the connection may be of no use any more.
        """
        try:
            return await self._connection.send(MetadataRequest(topics, allow_auto_topic_creation=False))
        except Exception as error:
            _require_kafka(error)
            raise

    def drop(self) -> None:
        """Close it at once."""
        self._connection.close()
        self._transport.abort()

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from outside of *loop*."""
        abandon(self._transport, loop, self.drop)
        if loop.is_closed():
            self._connection._reader = None  # noqa: SLF001 -- else it complains that it was not closed


async def opened(host: str, port: int, options: dict[str, Any]) -> KafkaLink:
    """Return a new link to the broker at *host* and *port*.

    Raises:
        Exception: Of aiokafka or the operating system; what was opened is closed.
    """
    connection = _Connection(host, port, request_timeout_ms=_LONGEST_SECONDS * 1000, **options)
    try:
        await connection.connect()
    except BaseException as error:
        transport = getattr(getattr(connection, "_protocol", None), "_transport", None)
        if transport is not None:
            transport.abort()  # aiokafka has closed it, which over TLS waits for the other side
        _require_kafka(error)
        raise
    return KafkaLink(connection)


def _require_kafka(error: BaseException) -> None:
    link: BaseException | None = error
    while link is not None:
        if str(link) == _NOT_KAFKA or isinstance(link, struct.error | ValueError):
            raise CheckFailed(Reason.INVALID, _NOT_KAFKA) from None
        link = link.__cause__
