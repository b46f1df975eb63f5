"""How sibling workers get the guard's memory, and learn that it has died."""

from __future__ import annotations

import array
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys

import pytest

from guarded import start_guard
from server import wait_until
from tasker_health.guard.lifeline import GREETING
from tasker_health.guard.memory import Memory

__all__ = ["start_guard"]


@pytest.fixture
def lifeline():
    """A listening abstract socket and its address."""
    address = f"\0tasker-health-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(16)
        yield listener, address


def connect(address):
    """Return a connection to *address*."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)  # before the timeout: with one, a full backlog is an error at once
    connection.settimeout(60)
    return connection


def descriptor_of(connection):
    """Return the descriptor that *connection* brings."""
    data, rights, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
    assert data == GREETING
    [(level, kind, descriptors)] = rights
    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    return array.array("i", descriptors)[0]


def test_a_sibling_gets_the_memory(start_guard, lifeline):
    """Who connects is sent the descriptor of the memory, and is a worker like any other with it."""
    listener, address = lifeline
    guard = start_guard(lifeline=listener.fileno())
    with connect(address) as connection:
        memory = Memory(descriptor_of(connection))
        slot = memory.take()
        slot.publish({"ready": (200, b'{"ready":true}')})
        assert guard.ask("ready") == (200, {"ready": True})
        slot.give_back()
        memory.close()


def test_the_end_of_the_guard_is_the_end_of_the_connection(start_guard, lifeline):
    """A sibling learns at once that the guard has died; a sibling that leaves is forgotten."""
    listener, address = lifeline
    guard = start_guard(lifeline=listener.fileno())
    assert guard.ask("live")[0] == 200
    before = guard.descriptors()
    siblings = [connect(address) for _ in range(20)]
    for sibling in siblings:
        os.close(descriptor_of(sibling))
    for sibling in siblings[1:]:
        sibling.close()
    wait_until(lambda: len(guard.descriptors()) == len(before) + 1, "those who left are forgotten")
    guard.signal(signal.SIGKILL)
    assert siblings[0].recv(1) == b""
    siblings[0].close()


def test_another_user_gets_nothing(start_guard, lifeline):
    """The memory is for the processes of one user."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    listener, address = lifeline
    guard = start_guard(lifeline=listener.fileno())
    assert guard.ask("live")[0] == 200
    code = (
        "import os, socket, sys; os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534);"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect('\\0' + sys.argv[1]);"
        "print(s.recvmsg(64, socket.CMSG_SPACE(4))[:2])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, address[1:]], capture_output=True, text=True, check=True)
    assert done.stdout == "(b'', [])\n", done.stderr


def test_what_a_sibling_says_is_not_listened_to(start_guard, lifeline):
    """Nothing is asked here: who talks is sent away, and the guard goes on."""
    listener, address = lifeline
    guard = start_guard(lifeline=listener.fileno())
    with connect(address) as connection:
        os.close(descriptor_of(connection))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b"x" * 100)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert guard.ask("live")[0] == 200
