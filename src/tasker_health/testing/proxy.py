"""A TCP proxy that fails on demand: what lies between a service and its database in bad weather."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Literal, Self

Mode = Literal["pass", "blackhole", "reset", "refuse", "slow", "trickle", "cut"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PATIENCE_SECONDS = 30


class FaultyProxy:
    """Forwards connections to a server, or fails as its mode says. A context manager.

    Modes, which apply to connections that are already open too:

    * `pass`: forwards everything.
    * `blackhole`: accepts and keeps connections, and forwards nothing; it goes on where it stopped afterwards.
    * `reset`: ends every connection with a reset.
    * `refuse`: does not listen; open connections are reset.
    * `slow`: waits `delay_seconds` before it forwards each chunk.
    * `trickle`: waits `delay_seconds` before each byte of an answer.
    * `cut`: forwards half of the first chunk of an answer, and ends the connection with a reset.

    Args:
        target_port: Where the server listens.
        target_host: The machine it is on.

    Attributes:
        port: Where it listens, the same in every mode.
        accepted: How many connections it has accepted.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.accepted: int = 0
        self._target_host = target_host
        self._target_port = target_port
        self._mode: Mode = "pass"
        self._delay_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._forwarding = asyncio.Event()
        self._forwarding.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)
        self._thread.start()
        self.port: int = 0
        self._in_loop(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def mode(self) -> Mode:
        """How it treats connections now."""
        return self._mode

    def set(self, mode: Mode, *, delay_seconds: float = 0.2) -> None:
        """Treat connections as *mode* says, from now on."""
        self._in_loop(self._set(mode, delay_seconds))

    def forward_to(self, target_port: int) -> None:
        """Forward new connections to another port, as after a failover."""
        self._target_port = target_port

    def close(self) -> None:
        """Reset every connection and stop listening, for good."""
        if self._loop.is_closed():
            return
        self._in_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_SECONDS)
        self._loop.close()

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _set(self, mode: Mode, delay_seconds: float) -> None:
        self._mode, self._delay_seconds = mode, delay_seconds
        if mode == "blackhole":
            self._forwarding.clear()
        else:
            self._forwarding.set()
        if mode in {"reset", "refuse"}:
            self._reset_all()
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refuse" and self._server is None:
            await self._listen()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio of Python 3.11 logs an error for each of its own that is cancelled.
        task = self._loop.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        if self._mode in {"reset", "refuse"}:
            return self._reset(writer)
        await self._forwarding.wait()
        try:
            target_reader, target_writer = await asyncio.open_connection(self._target_host, self._target_port)
        except OSError:
            return self._reset(writer)
        self._writers.add(target_writer)
        answering = self._relay(target_reader, writer, is_answer=True)
        await asyncio.gather(self._relay(reader, target_writer), answering)
        return None

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if self._mode == "slow":
                    await asyncio.sleep(self._delay_seconds)
                await self._forwarding.wait()
                if is_answer and self._mode == "trickle":
                    chunk = await self._trickled(chunk, writer)
                if is_answer and self._mode == "cut":
                    await self._cut(chunk, writer)
                    break
                writer.write(chunk)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    async def _trickled(self, chunk: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Forward *chunk* byte by byte while the mode says so; return what is left of it."""
        while chunk and self._mode == "trickle":
            await asyncio.sleep(self._delay_seconds)
            writer.write(chunk[:1])
            await writer.drain()
            chunk = chunk[1:]
        return chunk

    async def _cut(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Forward half of *chunk*, and see to it that it has left, before the reset, which would overtake it."""
        writer.write(chunk[: len(chunk) // 2])
        await writer.drain()
        await asyncio.sleep(0.01)
        self._reset(writer)

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()

    async def _end(self) -> None:
        await self._set("refuse", 0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
