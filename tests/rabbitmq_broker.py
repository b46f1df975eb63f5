"""A RabbitMQ that lets everybody in, confirms what is published, and then says what a test wants."""

from __future__ import annotations

import asyncio
import contextlib

from pamqp import body, commands, frame, header

_MOST_BYTES = 20_000_000
_ANSWERS = {
    "Connection.StartOk": commands.Connection.Tune(100, 131_072, 30),
    "Connection.Open": commands.Connection.OpenOk(),
    "Channel.Open": commands.Channel.OpenOk(),
    "Confirm.Select": commands.Confirm.SelectOk(),
    "Basic.Publish": commands.Basic.Ack(1),
}
_PUBLISHERS = {"capabilities": {"publisher_confirms": True}}


def content(channel: int) -> list[bytes]:
    """Return a message that was returned, with a body that has no end."""
    returned = frame.marshal(commands.Basic.Return(312, "NO_ROUTE", "", "x"), channel)
    of_length = frame.marshal(header.ContentHeader(0, 10**12, commands.Basic.Properties()), channel)
    return [returned, of_length, frame.marshal(body.ContentBody(b"x" * 100_000), channel)]


def confirms(channel: int) -> list[bytes]:
    """Return confirms of what nobody published."""
    return [frame.marshal(commands.Basic.Ack(9), channel) * 1000]


def elsewhere(channel: int) -> list[bytes]:
    """Return an answer on a channel that is not open."""
    return [frame.marshal(commands.Basic.Ack(1), channel + 70)]


def closing(channel: int) -> list[bytes]:
    """Return the end of the connection, in words."""
    del channel
    return [frame.marshal(commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0), 0)]


class Broker:
    """A broker on `port`.

    Attributes:
        port: On loopback.
        says: Set by the test when it is to speak, to what it says by the number of the channel; the last piece is
            repeated until the other side ends the connection. `None`: it ends the connection itself.
        is_asked: Set with it.
        sent: What it has sent since, in bytes, when the connection has ended.
    """

    def __init__(self, says) -> None:
        self.port = 0
        self.says = says
        self.is_asked = asyncio.Event()
        self.sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def converse(self, reader, writer) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            start = commands.Connection.Start(0, 9, _PUBLISHERS, "PLAIN", "en_US")
            writer.write(frame.marshal(start, 0))
            channel = await self._let_in(reader, writer)
            if not self.sent.done():
                await self.is_asked.wait()
                self.sent.set_result(await self._speak(channel, reader, writer))
            await reader.read()
        writer.close()

    async def _let_in(self, reader, writer) -> int:
        while True:
            kind, number, length = frame.frame_parts(head := await reader.readexactly(7))
            _, _, said = frame.unmarshal(head + await reader.readexactly(length + 1))
            answer = _ANSWERS.get(getattr(said, "name", ""))
            if answer is not None:
                writer.write(frame.marshal(answer, number))
            if kind == 1 and said.name == "Basic.Publish":
                return number

    async def _speak(self, channel, reader, writer) -> int:
        if self.says is None:
            writer.transport.abort()
            return 0
        *first, again = self.says(channel)
        sent = 0
        gone = asyncio.ensure_future(reader.read())
        with contextlib.suppress(OSError):
            writer.write(b"".join(first))
            while sent < _MOST_BYTES and not gone.done():
                writer.write(again)
                sent += len(again)
                await writer.drain()
                await asyncio.sleep(0)
        gone.cancel()
        return sent


@contextlib.asynccontextmanager
async def saying(says):
    """Yield a broker that says so when it is asked to, once; it lets everybody in again after that."""
    broker = Broker(says)
    server = await asyncio.start_server(broker.converse, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    async with server:
        yield broker
