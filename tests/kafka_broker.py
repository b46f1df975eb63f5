"""A Kafka broker that says what a test wants: nothing, too little or too much."""

from __future__ import annotations

import asyncio
import contextlib
import struct

_VERSIONS = 18
_TOPIC = struct.pack(">hhbi", 0, 0, 0, 0)
_MANY = 40_000


def nothing(kind: int) -> bytes | None:
    """Hang at the first question, of the *kind*."""
    del kind


def versions(kind: int) -> bytes | None:
    """Tell which versions of the protocol there are, and hang at what comes next."""
    return struct.pack(">hi6h", 0, 2, 3, 0, 1, _VERSIONS, 0, 0) if kind == _VERSIONS else None


def many_topics(kind: int) -> bytes | None:
    """Tell of one broker and of 40,000 topics without a name, in 360,000 bytes."""
    if kind == _VERSIONS:
        return versions(kind)
    return struct.pack(">iihihi", 1, 1, 0, 9092, -1, 1) + struct.pack(">i", _MANY) + _TOPIC * _MANY


@contextlib.asynccontextmanager
async def answering(says):
    """Yield the port of a broker that answers each question as *says* tells, by its kind; `None` is no answer."""

    async def converse(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                kind, _, number = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
                answer = says(kind)
                if answer is not None:
                    writer.write(struct.pack(">ii", len(answer) + 4, number) + answer)
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
