"""A server that answers health questions with what a test wants: well, ill, slow, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any


def http(body: Any, code: int = 200) -> bytes:
    """Return an answer of *code* with *body* as JSON."""
    return b"HTTP/1.1 %d Said\r\ncontent-type: application/json\r\n\r\n" % code + json.dumps(body).encode()


@contextlib.asynccontextmanager
async def answering(**answers: Any) -> AsyncIterator[int]:
    """Answer by the last word of the path; yield the port.

    Args:
        answers: Bytes that are sent; a list of them, one after another, the last for all that follow; a float: they
            are well, after so many seconds; `None`: it hangs. What is not named is 404.
    """
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, IndexError):
            said = answers.get((await reader.readline()).split()[1].decode().rpartition("/")[2], http({}, 404))
            if isinstance(said, list):
                said = said.pop(0) if said[1:] else said[0]
            if said is None:
                await ended.wait()
            if isinstance(said, float):
                await asyncio.sleep(said)
                said = http({})
            writer.write(said or b"")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        ended.set()
