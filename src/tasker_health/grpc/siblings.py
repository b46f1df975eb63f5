"""Who shares a port: the workers of one server, and nobody else."""

from __future__ import annotations

import os
import re
import socket
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_NUMBERS = re.compile(rb"[0-9]+")

_Address = IPv4Address | IPv6Address


def shares(host: str, port: int) -> bool:
    """Return whether this process shares *host* and *port* with its siblings: it may have some, and no other listens.

    Siblings are the workers of one server: they have the same parent, which runs the same program (a shell or an init
    starts services, not workers), and all are of one process group, were started in the same words but for numbers,
    and work in one folder. Whose socket it is cannot always be seen; who cannot be seen is a stranger.
    """
    return _has_a_server_for_parent() and _listening(_addresses(host), port) <= _sockets_of_siblings()


def _has_a_server_for_parent() -> bool:
    try:
        parent = os.getppid()
        return os.getpgid(parent) == os.getpgrp() and _link(parent, "exe") == _link(os.getpid(), "exe")
    except OSError:  # it has none that can be seen
        return False


def _addresses(host: str) -> set[_Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # to be told by whoever listens there
        return set()
    return {_plain(ip_address(str(each[4][0]).partition("%")[0])) for each in found}


def _listening(ours: set[_Address], port: int) -> set[str]:
    """Return the sockets that listen at *port* of one of *ours*; the wildcard is every address."""
    found = set()
    for table in _TABLES:
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:  # without IPv6 there is no table of it
            continue
        for fields in map(str.split, lines):
            address, _, at = fields[1].rpartition(":")
            if fields[3] == _LISTENS and int(at, 16) == port and _meet(_read(address), ours):
                found.add(f"socket:[{fields[9]}]")
    return found


def _meet(theirs: _Address, ours: set[_Address]) -> bool:
    return theirs.is_unspecified or theirs in ours or any(each.is_unspecified for each in ours)


def _read(digits: str) -> _Address:
    """Return the address that the kernel writes as words of four bytes, each in the order of this machine."""
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    return _plain(ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words)))


def _plain(address: _Address) -> _Address:
    """Return an IPv4 address as such: grpcio listens at `::ffff:127.0.0.1`."""
    return getattr(address, "ipv4_mapped", None) or address


def _sockets_of_siblings() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _is_sibling(int(process.name)):
                found |= {str(each.readlink()) for each in (process / "fd").iterdir()}
        except OSError:  # it has ended meanwhile, or is not ours to look at
            continue
    return found


def _is_sibling(process: int) -> bool:
    own = os.getpid()
    if process == own or os.getpgid(process) != os.getpgrp():
        return False
    after_name = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return int(after_name[1]) == os.getppid() and _origin(process) == _origin(own)


def _origin(process: int) -> tuple[str, str, bytes]:
    # Workers that are spawned differ in the numbers of their pipes.
    words = _NUMBERS.sub(b"0", Path(f"/proc/{process}/cmdline").read_bytes())
    return _link(process, "exe"), _link(process, "cwd"), words


def _link(process: int, name: str) -> str:
    return str(Path(f"/proc/{process}/{name}").readlink())
