"""What the figures were measured on: enough to judge them by, nothing that names the machine."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

CLIENT_CORE, SERVER_CORE = 0, 1


def description() -> str:
    """Return date, cores, model of the processor and version of Python, in one line."""
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {len(cores())} cores, {_processor()}, {platform.python_implementation()} {_version()}"


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def pin(process_id: int, place: int) -> None:
    """Keep a process on one core, so that client and server do not push each other around; one core is shared."""
    usable = cores_at_start
    os.sched_setaffinity(process_id, {usable[place % len(usable)]})


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version() -> str:
    return platform.python_version()


cores_at_start = cores()
