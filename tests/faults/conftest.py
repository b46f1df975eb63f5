"""The faults are judged by how soon an answer comes under them, so nothing else runs beside; but for a few."""

from __future__ import annotations

from pathlib import Path

import pytest

BESIDE_OTHERS = frozenset({"test_alerts.py", "test_database_away.py", "test_tasker_source.py"})
"""Whose tests have a simulated time, or wait for what must come, however late a busy machine brings it."""


def pytest_collection_modifyitems(items):
    """Mark every other test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name not in BESIDE_OTHERS:
            item.add_marker(pytest.mark.alone)
