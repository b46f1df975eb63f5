"""The fault matrix: each row a fault, what is asked under it, what must be answered, how soon, and what is left over.

`./dev bench faults` plays the same rows with more probes and prints the figures. Not here: the shared caches, which
do not exist yet, and memory pressure, which a test cannot make without taking the machine from everybody else. The
guard's own clock cannot be set for one process; it judges by CLOCK_MONOTONIC alone, and only its timestamps would move.
"""

from __future__ import annotations

import pytest

from faults.fault import FAULTS
from faults.row import play, quantile
from faults.scene import Scene

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
    assert "Traceback" not in outcome.log
