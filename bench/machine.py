"""What the figures were measured on: enough to judge them by, nothing that names the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

CLIENT_CORE, SERVER_CORE = 0, 1
_CORES = sorted(os.sched_getaffinity(0))


def description() -> str:
    """Return date, cores, model of the processor and version of Python, in one line."""
    today = datetime.now(UTC).date().isoformat()
    return (
        f"{today}, {len(_CORES)} cores, {_processor()}, {platform.python_implementation()} {platform.python_version()}"
    )


def pin(process_id: int, core: int) -> None:
    """Keep a process on one core, so that client and server do not push each other around; one core is shared."""
    os.sched_setaffinity(process_id, {_CORES[core % len(_CORES)]})


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process on one core for as long as the block takes."""
    pin(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
