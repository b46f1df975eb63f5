"""Which processes listen on a port of this machine, as /proc tells (proc_pid_net(5), proc_pid_fd(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_LISTENS = "0A"  # TCP_LISTEN
_OURS = ("tasker_health", "tasker-health")
_LONGEST_NAME = 60


class Process(NamedTuple):
    """One that listens.

    Attributes:
        pid, parent: Its number, and its parent's.
        name: What it is called.
        words: Its command line.
    """

    pid: int
    parent: int
    name: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"

    @property
    def is_command(self) -> bool:
        """Whether it is `tasker-health serve` or `demo`, which start a guard unless they are told not to."""
        own = any(word.rpartition("/")[2] in _OURS for word in self.words)
        return own and not {"serve", "demo"}.isdisjoint(self.words)

    @property
    def guards(self) -> int | None:
        """The process that it is the guard of; `None`: it is no guard."""
        if not any("tasker_health.guard.process" in word for word in self.words):
            return None
        owners = [word.removeprefix("owner=") for word in self.words if word.startswith("owner=")]
        return int(owners[0]) if owners and owners[0].isdigit() else None


def listeners(port: int) -> list[Process]:
    """Return who listens on *port*, the oldest first; empty: nobody does, or it may not be known."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    found = [] if not sockets else [pid for pid in _pids() if _has_one_of(pid, sockets)]
    return [process for pid in sorted(found) if (process := _process(pid)) is not None]


def _inodes(port: int) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "self" / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def _pids() -> Iterator[int]:
    try:
        yield from (int(name) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 -- faster by far
    except OSError:
        return


def _has_one_of(pid: int, sockets: set[str]) -> bool:
    folder = f"{_PROC}/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 -- as above
    except OSError:  # another user's, or it has ended
        return False
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}") in sockets:  # noqa: PTH115 -- as above
                return True
        except OSError:
            continue
    return False


def _process(pid: int) -> Process | None:
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
        head, _, rest = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")
        parent = int(rest.split()[1])
    except (OSError, IndexError, ValueError):
        return None
    name = "".join(each if each.isprintable() else "?" for each in head.partition("(")[2])[:_LONGEST_NAME]
    return Process(pid, parent, name, tuple(word.decode(errors="replace") for word in raw.split(b"\0") if word))
