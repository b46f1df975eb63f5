"""What a Datadog Agent reads: sockets of the test's own, and a parser of the documented datagrams.

Written from "Datagram Format and Shell Usage" of Datadog's documentation, not from the client.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import NamedTuple

from server import wait_until

PATIENCE_SECONDS = 60
_LINE = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.]{0,199}):(?P<value>-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)\|(?P<type>[gc])"
)
_SERVICE_CHECK = re.compile(r"_sc\|(?P<name>[A-Za-z][A-Za-z0-9_.]*)\|(?P<status>[0-3])")
_TAG = re.compile(r"[^\W\d_][\w:./-]{0,198}[\w./-]")


class Line(NamedTuple):
    """One line: a metric of type `g` or `c`, or a service check, whose type is `_sc`."""

    type: str
    name: str
    tags: frozenset[str]
    value: float
    message: str = ""


def parse(datagram):
    """Return the lines of *datagram*; what the protocol does not know fails the test."""
    return [_line(line) for line in datagram.decode("utf-8").removesuffix("\n").split("\n")]


def _line(line):
    is_check = line.startswith("_sc|")
    fields = line.split("|")
    head = "|".join(fields[: 3 if is_check else 2])
    found = (_SERVICE_CHECK if is_check else _LINE).fullmatch(head)
    assert found, line
    tags, message = frozenset(), ""
    for field in fields[3 if is_check else 2 :]:
        if field.startswith("#"):
            words = field[1:].split(",")
            tags = frozenset(words)
            assert len(words) == len(tags), f"a tag twice: {line}"
            assert all(map(_TAG.fullmatch, words)), line
        elif field.startswith("m:"):
            message = field[2:]
        else:
            assert field.startswith("c:"), line  # of the container
    if is_check:
        return Line("_sc", found["name"], tags, int(found["status"]), message)
    return Line(found["type"], found["name"], tags, float(found["value"]))


class Agent:
    """Somebody who listens at a free port (UDP), or at the socket file *path*.

    Attributes:
        address: As the settings have it.
        datagrams: What has come so far.
    """

    def __init__(self, path=None, port=0, *, kind=socket.SOCK_DGRAM):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)  # nothing is lost before it is read
        self.socket.bind(str(path) if path else ("127.0.0.1", port))
        self.address = f"unix://{path}" if path else f"127.0.0.1:{self.socket.getsockname()[1]}"
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.socket.setblocking(False)
        self.datagrams = []

    def read(self):
        """Return the lines of all that has come since the last time."""
        new = []
        with contextlib.suppress(BlockingIOError):
            while True:
                new.append(self.socket.recv(65536))
        self.datagrams += new
        return [line for datagram in new for line in parse(datagram)]

    def read_until(self, condition):
        """Return all lines from now on as soon as *condition* of them is true."""
        lines = []

        def met():
            lines.extend(self.read())
            return condition(lines)

        wait_until(met, "the Agent was told it", PATIENCE_SECONDS)
        return lines

    def close(self):
        """Be there no more; the file stays, as after a crash."""
        self.socket.close()


def by_name(lines):
    """Return the values of *lines* by type, name and own tags, without those that everything has."""
    found = {}
    for line in lines:
        own = tuple(sorted(tag for tag in line.tags if not re.match(r"service:|tasker_health_version:|env:", tag)))
        assert (line.type, line.name, *own) not in found, f"told twice: {line}"
        found[line.type, line.name, *own] = line.value
    return found
