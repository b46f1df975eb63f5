"""The socket on which sibling workers ask for the guard's memory, and learn from its end that the guard has died."""

from __future__ import annotations

import _socket
import os
import select
import struct

from tasker_health.guard.memory import MAGIC

GREETING = MAGIC.to_bytes(8, "little")
"""What is sent with the memory's descriptor."""

_MOST = 1024
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class Lifeline:
    """Hands the memory behind *memory* to each process of the same user that connects to *listener*.

    Args:
        listener: Descriptor of a listening socket of the family AF_UNIX.
        memory: Descriptor of the memory.
        poller: Tells which descriptors are ready.
    """

    def __init__(self, listener: int, memory: int, poller: select.epoll) -> None:
        self._listener = _socket.socket(fileno=listener)
        self._listener.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
        self._memory = memory
        self._poller = poller
        self._held: dict[int, _socket.socket] = {}
        poller.register(listener, select.EPOLLIN)

    def serve(self, descriptor: int) -> bool:
        """Do what *descriptor* is ready for; return whether it is one of these."""
        if descriptor == self._listener.fileno():
            self._accept()
            return True
        if descriptor not in self._held:
            return False
        # Nothing is ever asked here: it is readable because its holder has left, or does not know the protocol.
        self._held.pop(descriptor).close()
        return True

    def _accept(self) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
        except OSError:
            return
        peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        try:
            peer.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
            _, user, _ = _PEER.unpack(peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
            if user == os.geteuid() and len(self._held) < _MOST:
                rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", self._memory))
                peer.sendmsg([GREETING], [rights])
                self._poller.register(descriptor, select.EPOLLIN)
                self._held[descriptor] = peer
                return
        except OSError:
            pass
        peer.close()
