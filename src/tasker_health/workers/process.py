"""Whether another process of this machine runs, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path

_STOPPED = frozenset("TtZXx")
"""States of a process that runs nothing any more, or not now (proc(5), field 3 of stat)."""


def is_halted(pid: int) -> bool:
    """Return whether the process *pid* is stopped, a zombie or gone; without a /proc nobody knows."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] in _STOPPED
