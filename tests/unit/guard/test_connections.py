"""Connections of probers, driven event by event over real sockets."""

from __future__ import annotations

import errno
import os
import select
import socket

import pytest

from tasker_health.guard import connections as connections_module
from tasker_health.guard.connections import PATIENCE_NS, Connections

LIVE = b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


class Room:
    """Connections and those who connect."""

    def __init__(self, rooms):
        self.rooms = rooms
        self.server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.connections = Connections(self.server.fileno(), rooms.poller, rooms.answers, rooms.log, most=100)
        self.clients = []
        self.now = 0
        rooms.look()

    def connect(self):
        """Return a new client that has been accepted."""
        client = socket.create_connection(self.server.getsockname(), 30)
        self.clients.append(client)
        self.serve()
        return client

    def serve(self, wait=0.05):
        """Serve what is ready; return the descriptors of others."""
        others = []
        for _ in range(1000):
            if not (events := self.rooms.poller.poll(wait, 64)):
                return others
            others += self.connections.serve(events, self.now)
            wait = 0
        raise AssertionError("it spins")

    def ask(self, client, data=LIVE):
        """Return what *client* gets for *data*."""
        client.sendall(data)
        self.serve()
        return client.recv(65536)

    def is_closed(self, client):
        """Whether the guard has ended the connection of *client*."""
        client.setblocking(False)
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    @property
    def count(self):
        """How many are idle, and how many busy."""
        return len(self.connections._idle), len(self.connections._busy)


@pytest.fixture
def room(rooms):
    """An empty room."""
    built = Room(rooms)
    yield built
    for client in built.clients:
        client.close()
    built.serve()
    built.connections._listener.detach()
    built.server.close()


def test_a_whole_request_keeps_its_connection_idle(room):
    """The first is parsed, the next is known by its bytes; neither is forgotten who sent it."""
    client = room.connect()
    first = room.ask(client)
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert room.rooms.answers.known.keys() == {LIVE}
    room.rooms.answers.known[LIVE] = b"known"
    assert room.ask(client) == b"known"
    assert room.count == (1, 0)
    room.rooms.look(1)
    assert room.ask(client) == first


def test_an_unfinished_request_is_busy_until_it_is_finished(room):
    """Or until its sender leaves."""
    first, second = room.connect(), room.connect()
    first.sendall(LIVE[:9])
    second.sendall(LIVE[:9])
    room.serve()
    assert room.count == (0, 2)
    assert room.ask(first, LIVE[9:]).startswith(b"HTTP/1.1 200 OK")
    second.close()
    room.serve()
    assert room.count == (1, 0)


def test_answers_are_sent_at_once(room):
    """A second answer does not wait until the first one is acknowledged (Nagle's algorithm is off)."""
    room.connect()
    [descriptor] = room.connections._idle
    with socket.socket(fileno=os.dup(descriptor)) as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not os.get_blocking(descriptor)


def test_the_longest_idle_makes_room(room, monkeypatch):
    """At the limit, who asked last stays."""
    monkeypatch.setattr(room.connections, "_most", 3)
    first, second, third = (room.connect() for _ in range(3))
    room.ask(first)
    room.connect()
    assert [room.is_closed(each) for each in (first, second, third)] == [False, True, False]
    assert room.count == (3, 0)


def test_the_longest_busy_makes_room(room, monkeypatch):
    """Few may be busy at once; idle ones are not affected."""
    monkeypatch.setattr(connections_module, "MOST_BUSY", 2)
    clients = [room.connect() for _ in range(4)]
    for client in clients[:3]:
        client.sendall(b"GET")
        room.serve()
    assert [room.is_closed(each) for each in clients] == [True, False, False, False]
    assert room.count == (1, 2)


def test_patience(room):
    """A request that does not end is 408, a goodbye that nobody hears is cut short; idle ones may wait."""
    idle, slow, lingering = (room.connect() for _ in range(3))
    slow.sendall(LIVE[:9])
    lingering.sendall(b"nonsense\r\n\r\n")
    room.serve()
    assert lingering.recv(65536).startswith(b"HTTP/1.1 400")
    assert room.count == (1, 2)
    room.connections.expire(PATIENCE_NS)
    assert room.count == (1, 2)
    room.connections.expire(PATIENCE_NS + 1)
    assert room.count == (1, 0)
    assert slow.recv(65536).startswith(b"HTTP/1.1 408")
    assert room.is_closed(slow)
    assert room.is_closed(lingering)
    assert room.ask(idle).startswith(b"HTTP/1.1 200")


def test_patience_begins_anew_with_each_request(room):
    """A connection that has always something unfinished, but goes on, is not slow."""
    client = room.connect()
    client.sendall(LIVE[:9])
    room.serve()
    room.now = PATIENCE_NS
    assert room.ask(client, LIVE[9:] + LIVE[:9]).startswith(b"HTTP/1.1 200")
    room.connections.expire(2 * PATIENCE_NS)
    assert room.count == (0, 1)
    room.connections.expire(2 * PATIENCE_NS + 1)
    assert room.count == (0, 0)


def test_a_lingering_sender_is_not_heard_for_ever(room):
    """What comes after a refusal is thrown away, up to a limit."""
    client = room.connect()
    room.ask(client, b"nonsense\r\n\r\n")
    client.settimeout(1)
    sent = 0
    try:
        while sent < 1 << 24:
            sent += client.send(b"x" * 65536)
            room.serve(0.01)
    except OSError:
        pass
    assert room.count == (0, 0)
    assert sent < 1 << 24


def test_without_descriptors_idle_ones_make_room(room, monkeypatch):
    """When none can be had at all, it waits with accepting and does not spin."""
    first = room.connect()
    real = room.connections._listener

    class Full:
        """A listening socket without descriptors."""

        def _accept(self):
            raise OSError(errno.EMFILE, "none left")

        def fileno(self):
            return real.fileno()

    room.connections._listener = Full()
    client = socket.create_connection(room.server.getsockname(), 30)
    room.clients.append(client)
    room.serve()
    assert room.is_closed(first)
    assert room.rooms.poller.poll(0) == []
    room.connections._listener = real
    room.connections.expire(1)
    assert room.rooms.poller.poll(0) == [(real.fileno(), select.EPOLLIN)]
    room.serve()
    assert room.ask(client).startswith(b"HTTP/1.1 200")


def test_a_defect_costs_one_connection(room, monkeypatch):
    """Whatever goes wrong while one request is answered, the others are served, and the log says what it was."""
    first, second = room.connect(), room.connect()

    def fail(request):
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(room.rooms.answers, "answer", fail)
        assert room.ask(first) == b""
    assert room.ask(second).startswith(b"HTTP/1.1 200")
    assert room.rooms.log.lines == ["WARNING a request could not be answered: ZeroDivisionError: a defect"]


def test_other_descriptors_are_handed_back(room):
    """What belongs to no connection is for somebody else."""
    reader, writer = os.pipe()
    room.rooms.poller.register(reader, select.EPOLLIN)
    os.write(writer, b"x")
    events = room.rooms.poller.poll(0.05)
    assert list(room.connections.serve(events, 0)) == [reader]
    os.close(reader)
    os.close(writer)
