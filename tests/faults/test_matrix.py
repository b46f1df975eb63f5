"""The fault matrix: each row a fault, what is asked under it, what must be answered, how soon, and what is left over.

`./dev bench faults` plays the same rows with more probes and prints the figures. What the status is worth while a
shared cache is in trouble is in test_caches.py. Not here: memory pressure of the whole machine, which would take it
from everybody else; the application alone has none in one row. The guard's own clock cannot be set for one process; it
judges by CLOCK_MONOTONIC alone, and only its timestamps would move.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from faults.fault import FAULTS
from faults.row import play, quantile
from faults.scene import Scene
from tasker_health.database import Database
from tasker_health.errors import DatabaseFault

PROBES = 300
DEADLINE_SECONDS = 0.8
SLOWEST_LIVE_MS, SLOWEST_READY_MS = 2000, (DEADLINE_SECONDS + 4) * 1000
BACK_SECONDS, END_SECONDS = 8, 12


@pytest.fixture(scope="module")
def scene():
    """Two databases and a proxy that all rows share."""
    shared = Scene()
    yield shared
    shared.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_probes_hold(scene, fault):
    """Every answer is right and in time; ready soon afterwards, nothing leaked; SIGTERM ends it."""
    outcome = play(scene, fault, probes=PROBES)
    assert outcome.wrong == []
    assert len(outcome.live) == PROBES
    assert quantile(outcome.live, 1) < SLOWEST_LIVE_MS
    for name, ready in outcome.ready.items():
        assert len(ready) == PROBES, name
        assert quantile(ready, 1) < SLOWEST_READY_MS, name
    assert outcome.back_seconds < BACK_SECONDS
    assert outcome.leaks == {}
    assert outcome.end_seconds is not None
    assert outcome.end_seconds < END_SECONDS
    assert outcome.guard_gone
    assert fault.lacks_memory or "Traceback" not in outcome.log


def test_an_attempt_to_connect_that_times_out_leaves_no_socket():
    """It is closed at once, not by a garbage collection that may be far: the server counts it as a connection."""

    async def play(port):
        database = Database(f"postgresql://prober:prober@127.0.0.1:{port}/postgres")
        open_before = sum(1 for _ in Path("/proc/self/fd").iterdir())
        for _ in range(3):
            with pytest.raises(DatabaseFault):
                await database.run(lambda _connection: None, deadline_seconds=0.1)
        await database.close()  # waits for what was given up
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) - open_before

    with socket.create_server(("127.0.0.1", 0)) as silent:
        gc.disable()
        try:
            assert asyncio.run(play(silent.getsockname()[1])) == 0
        finally:
            gc.enable()
