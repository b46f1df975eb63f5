"""Who listens at a port: another worker of the same server, or somebody else."""

from __future__ import annotations

import os
from pathlib import Path

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"


def strangers_listen(port: int) -> bool:
    """Return whether somebody listens at *port* who is no sibling of this process.

    A sibling has the same parent and the same process group, as the workers of one server have. Whose socket it is
    cannot always be seen; who cannot be seen is a stranger.
    """
    sockets = _listening(port)
    return bool(sockets) and not sockets <= _sockets_of_siblings()


def _listening(port: int) -> set[str]:
    found = set()
    for table in _TABLES:
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:  # without IPv6 there is no table of it
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


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
    if process == os.getpid() or os.getpgid(process) != os.getpgrp():
        return False
    after_name = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return int(after_name[1]) == os.getppid()
