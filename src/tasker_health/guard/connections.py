"""The connections of probers: many may stay open, few may be busy, and none can keep the others waiting."""

from __future__ import annotations

import _socket
import errno
import os
import select

from tasker_health.guard.answers import Answers
from tasker_health.guard.exchange import Exchange
from tasker_health.guard.http import Refused
from tasker_health.guard.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BUSY = 256
"""Most connections whose request or answer is unfinished: each may hold some kilobytes."""

PATIENCE_NS = 5_000_000_000
"""How long a request, an answer or a goodbye may take."""

_READ_BYTES = 4096
_MOST_LINGERED = 256 * 1024
_ACCEPTED_AT_ONCE = 64
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connections:
    """Serves those who connect to the listening socket behind *listener*.

    A connection is idle, between two requests, or busy. A request that arrives whole, as probes do, and that has
    been answered lately never makes its connection busy.

    Args:
        listener: Descriptor of a listening socket.
        poller: Tells which descriptors are ready.
        answers: Makes the answers.
        log: Is told of failures.
        most: Most open connections; the one that is idle for longest makes room.
    """

    def __init__(self, listener: int, poller: select.epoll, answers: Answers, log: Log, *, most: int) -> None:
        self._listener = _socket.socket(fileno=listener)
        self._listener.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
        # What is accepted inherits it: an answer never waits until the one before it is acknowledged.
        self._listener.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._poller = poller
        self._answers = answers
        self._log = log
        self._most = most
        # The first one is idle for longest.
        self._idle: dict[int, None] = {}
        self._busy: dict[int, Exchange] = {}
        self._accepts_when = select.EPOLLIN
        poller.register(listener, self._accepts_when)

    def serve(self, events: list[tuple[int, int]], now: int) -> Iterator[int]:
        """Serve those of *events* that are of connections, at *now* in nanoseconds; yield the other descriptors."""
        idle, read, write, known = self._idle, os.read, os.write, self._answers.known
        for descriptor, _ in events:
            if idle.pop(descriptor, 0) is None:
                try:
                    data = read(descriptor, _READ_BYTES)
                    answer = known.get(data)
                    if answer is None:
                        self._begin(descriptor, data, now)
                        continue
                except BlockingIOError:
                    idle[descriptor] = None
                    continue
                except OSError:
                    os.close(descriptor)
                    continue
                try:
                    sent = write(descriptor, answer)
                except OSError:
                    sent = 0
                if sent == len(answer):
                    idle[descriptor] = None
                else:
                    self._proceed(descriptor, Exchange(now, answer[sent:]), now)
            elif descriptor in self._busy:
                self._go_on(descriptor, self._busy[descriptor], now)
            elif descriptor == self._listener.fileno():
                self._accept()
            else:
                yield descriptor

    def expire(self, now: int) -> None:
        """End what takes too long at *now*, in nanoseconds, and accept again if there was no room."""
        for descriptor, exchange in list(self._busy.items()):
            if now - exchange.since <= PATIENCE_NS or self._busy.get(descriptor) is not exchange:
                continue
            if exchange.out or exchange.lingers is not None:
                self._close(descriptor)
            else:
                exchange.refuse(self._answers, Refused(408, "The request took too long to come"))
                self._proceed(descriptor, exchange, now)
        self._accept_when(select.EPOLLIN)

    def _accept_when(self, ready: int) -> None:
        if self._accepts_when != ready:
            self._accepts_when = ready
            self._poller.modify(self._listener.fileno(), ready)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                # As `socket.accept` does; `socket` costs half a megabyte.
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    continue  # who wanted to connect has left
                if not self._make_room():
                    self._accept_when(0)  # not before the next `expire`
                return
            if len(self._idle) + len(self._busy) >= self._most:
                self._make_room()
            os.set_blocking(descriptor, False)
            try:
                self._poller.register(descriptor, select.EPOLLIN)
            except OSError:
                os.close(descriptor)
            else:
                self._idle[descriptor] = None

    def _make_room(self) -> bool:
        """Close the connection that is idle for longest, or busy if none is idle; return whether there was one."""
        for descriptor in self._idle or self._busy:
            self._close(descriptor)
            return True
        return False

    def _begin(self, descriptor: int, data: bytes, now: int) -> None:
        """Take the first bytes of a request from a connection that was idle."""
        if not data:
            os.close(descriptor)
            return
        exchange = Exchange(now)
        exchange.awaits = select.EPOLLIN
        exchange.receive(data)
        self._proceed(descriptor, exchange, now)

    def _go_on(self, descriptor: int, exchange: Exchange, now: int) -> None:
        """Go on with what a busy connection was doing."""
        if exchange.out:
            self._proceed(descriptor, exchange, now)
            return
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if exchange.lingers is not None:
            exchange.lingers += len(data)
        if not data or (exchange.lingers or 0) > _MOST_LINGERED:
            self._close(descriptor)
        elif exchange.lingers is None:
            exchange.receive(data)
            self._proceed(descriptor, exchange, now)

    def _proceed(self, descriptor: int, exchange: Exchange, now: int) -> None:
        """Answer and send as much as can be, then wait for what is needed to go on."""
        try:
            while not exchange.out or self._sends(descriptor, exchange):
                exchange.proceed(self._answers)
                if not exchange.out:
                    break
                exchange.since = now
        except OSError:
            self._close(descriptor)
            return
        except Exception as error:  # noqa: BLE001 -- whatever one connection brings, the others are answered
            self._log.warning(f"a request could not be answered: {type(error).__name__}: {error}")
            self._close(descriptor)
            return
        if exchange.out:
            self._hold(descriptor, exchange, select.EPOLLOUT)
        elif exchange.ends:
            self._say_goodbye(descriptor, exchange)
        elif exchange.is_over:
            self._await(descriptor, exchange, select.EPOLLIN)
            self._busy.pop(descriptor, None)
            self._idle[descriptor] = None
        else:
            self._hold(descriptor, exchange, select.EPOLLIN)

    @staticmethod
    def _sends(descriptor: int, exchange: Exchange) -> bool:
        """Send what is to be sent; return whether that was all."""
        try:
            sent = os.write(descriptor, exchange.out)
        except BlockingIOError:
            return False
        exchange.out = exchange.out[sent:]
        return not exchange.out

    def _say_goodbye(self, descriptor: int, exchange: Exchange) -> None:
        if not exchange.has_unread:
            self._close(descriptor)
            return
        goodbye = _socket.socket(self._listener.family, _socket.SOCK_STREAM, 0, descriptor)
        try:
            goodbye.shutdown(_socket.SHUT_WR)
        except OSError:
            self._close(descriptor)
        else:
            exchange.lingers = 0
            self._hold(descriptor, exchange, select.EPOLLIN)
        finally:
            goodbye.detach()

    def _hold(self, descriptor: int, exchange: Exchange, awaited: int) -> None:
        """Keep a connection that is busy, until *awaited* comes."""
        self._await(descriptor, exchange, awaited)
        self._busy[descriptor] = exchange
        if len(self._busy) > MOST_BUSY:
            self._close(next(iter(self._busy)))

    def _await(self, descriptor: int, exchange: Exchange, awaited: int) -> None:
        if exchange.awaits != awaited:
            exchange.awaits = awaited
            self._poller.modify(descriptor, awaited)

    def _close(self, descriptor: int) -> None:
        self._idle.pop(descriptor, None)
        self._busy.pop(descriptor, None)
        os.close(descriptor)
