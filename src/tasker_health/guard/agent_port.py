"""The port of the agent: whoever connects is told one line, at once and unasked, and the connection ends.

Nothing is waited for, and what is sent to it (`agent-send`) is thrown away. A connection on which something arrives
after it is closed is reset, and the line may be lost with it; so it is closed when the other side has closed it, or
soon. Few are kept for that: a new one has its line before the oldest makes room.
"""

from __future__ import annotations

import _socket
import errno
import os
import select

from tasker_health.guard.agent import Agent

MOST_HELD = 64
"""Most connections whose other side has not ended them yet."""

_PATIENCE_NS = 2_000_000_000
_READ_BYTES = 4096
_ACCEPTED_AT_ONCE = 64
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class AgentPort:
    """Serves those who connect to the listening socket behind *listener*.

    Args:
        listener: Descriptor of a listening socket.
        poller: Tells which descriptors are ready.
        agent: Knows the line.
    """

    def __init__(self, listener: int, poller: select.epoll, agent: Agent) -> None:
        self._listener = _socket.socket(fileno=listener)
        self._listener.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
        self._poller = poller
        self._agent = agent
        self._accepts_when = select.EPOLLIN
        # Since when, the oldest first.
        self._held: dict[int, int] = {}
        poller.register(listener, self._accepts_when)

    def look(self, now: int) -> None:
        """Take in what is true at *now*, by CLOCK_MONOTONIC in nanoseconds."""
        self._agent.look(now)

    def serve(self, descriptor: int, now: int) -> bool:
        """Do what *descriptor* is ready for at *now*, in nanoseconds; return whether it is one of these."""
        if descriptor == self._listener.fileno():
            self._accept(now)
        elif descriptor in self._held:
            self._pass_over(descriptor)
        else:
            return False
        return True

    def expire(self, now: int) -> None:
        """Close what the other side has left open at *now*, in nanoseconds; accept again if there was no room."""
        for descriptor in [each for each, since in self._held.items() if now - since > _PATIENCE_NS]:
            self._close(descriptor)
        self._accept_when(select.EPOLLIN)

    def _accept(self, now: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                # As `socket.accept` does; `socket` costs half a megabyte.
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    continue  # who wanted to connect has left
                if self._held:
                    self._close(next(iter(self._held)))
                else:
                    self._accept_when(0)  # not before the next `expire`
                return
            self._answer(descriptor, now)

    def _answer(self, descriptor: int, now: int) -> None:
        asker = _socket.socket(self._listener.family, _socket.SOCK_STREAM, 0, descriptor)
        try:
            asker.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
            asker.send(self._agent.line)  # a line always fits
            asker.shutdown(_socket.SHUT_WR)
            self._poller.register(descriptor, select.EPOLLIN)
        except OSError:
            asker.close()
            return
        asker.detach()
        self._held[descriptor] = now
        if len(self._held) > MOST_HELD:
            self._close(next(iter(self._held)))

    def _pass_over(self, descriptor: int) -> None:
        try:
            if os.read(descriptor, _READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._held[descriptor]
        os.close(descriptor)

    def _accept_when(self, ready: int) -> None:
        if self._accepts_when != ready:
            self._accepts_when = ready
            self._poller.modify(self._listener.fileno(), ready)
