"""One connection to Memcached on the event loop: a question, its reply, and a deadline that holds.

The socket is ours, not a transport's: it can be closed at once, whatever has become of its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from tasker_health.cache.memcached_wire import Reading, Reply
from tasker_health.deadline import retrieve
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.resolver import Resolver

_PIECE = 65536
_CLOSED = "the server closed the connection"

_PROMPT_SECONDS = 0.005
"""An answer that took longer may come from a server that has just been woken."""


async def connected(host: str, port: int, resolver: Resolver, ends_at: float) -> socket.socket:
    """Return a socket connected to the first address of *host* that takes it until *ends_at*, by the loop's clock.

    Raises:
        OSError: None takes it, or *host* has no address.
        TimeoutError: None took it in time.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout_at(ends_at):
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            await resolver.resolve(host)
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        last: OSError = OSError(f"{host} has no address")
        for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
            attempt = socket.socket(family, kind, protocol)
            try:
                attempt.setblocking(False)  # noqa: FBT003 -- the standard library's own
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout((ends_at - loop.time()) / left):
                    await loop.sock_connect(attempt, address)
            except OSError as error:  # a TimeoutError too
                attempt.close()
                last = error
            except BaseException:
                attempt.close()
                raise
            else:
                return attempt
        raise last


class Connection:
    """A connected socket that is asked one question at a time.

    Whatever it did not expect ends it: a late reply, one too much, noise, a deadline, a cancelled question.

    Attributes:
        is_open: Whether it can be asked.
        was_prompt: Whether every answer was, since somebody has set it. One that is there as soon as the loop looks is:
            that it was late is the loop's doing, not the server's.
    """

    def __init__(self, connected_socket: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connected_socket
        self._waiting: asyncio.Future[Reply] | None = None
        self._reading = Reading()
        self._unsent = memoryview(b"")
        self._looked_at: float | None = None
        self.is_open = self.was_prompt = True
        self._loop.add_reader(connected_socket, self._read)

    async def ask(self, command: bytes, ends_at: float, *expected: str) -> Reply:
        """Return the reply to *command*, whose code is one of *expected*.

        Raises:
            CacheFault: The server refuses, or says what it should not.
            OSError: The connection broke.
            TimeoutError: There was no reply until *ends_at*, by the loop's clock.
        """
        if not self.is_open:
            raise CacheFault(Reason.UNREACHABLE, _CLOSED)
        self._reading = Reading()
        waiting = self._waiting = self._loop.create_future()
        # Not a cancel of the asker: a reply that has arrived in a loop that was away counts, however late it is.
        deadline = self._loop.call_at(ends_at, self._late)
        self._looked_at = None
        self._loop.call_soon(self._loop.call_soon, self._look, waiting)
        try:
            self._send(command)
            reply: Reply = await waiting
        except BaseException:
            self.close()
            if waiting.done():
                retrieve(waiting)  # a cancel may have come after it
            raise
        finally:
            deadline.cancel()
            self._waiting = None
        if reply.code not in expected:
            self.close()
            raise CacheFault(Reason.INVALID, f"the server answers {reply.code}, which was not asked")
        return reply

    def close(self) -> None:
        """Close the socket at once; who waits for it is told."""
        if not self.is_open:
            return
        self.is_open = False
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket.close()
        if not self._loop.is_closed():
            self._settle(CacheFault(Reason.UNREACHABLE, "the connection was closed"))

    def leave(self) -> None:
        """Close the descriptor of a forked child; the connection and its event loop go on in the parent."""
        self.is_open = False
        self._socket.close()

    def _send(self, command: bytes) -> None:
        self._unsent = memoryview(command)
        self._write()
        if self._unsent:
            self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = memoryview(b"")  # why, is said by what can be read
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            piece = self._socket.recv(_PIECE)
            if not piece or self._waiting is None:
                raise CacheFault(Reason.UNREACHABLE, _CLOSED)  # noqa: TRY301 -- told as what recv raises
            reply = self._reading.feed(piece)
        except BlockingIOError:
            return
        except (CacheFault, OSError) as error:
            self._settle(error)
            self.close()
            return
        if reply is not None:
            if self._looked_at is not None and self._loop.time() - self._looked_at > _PROMPT_SECONDS:
                self.was_prompt = False
            self._settle(reply)
            if reply.is_cut:
                self.close()

    def _look(self, waiting: asyncio.Future[Reply]) -> None:
        """Note when the loop has had a whole turn, has looked for an answer, and found none."""
        if waiting is self._waiting and not waiting.done():
            self._looked_at = self._loop.time()

    def _late(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._settle(TimeoutError())
            self.close()

    def _settle(self, outcome: Reply | Exception) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            if self._waiting is not None and isinstance(outcome, Reply):
                self._waiting.set_result(outcome)
            elif self._waiting is not None and isinstance(outcome, Exception):
                self._waiting.set_exception(outcome)
