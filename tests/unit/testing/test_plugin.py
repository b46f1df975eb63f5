"""The plugin: it costs a run of pytest nothing, and its fixtures work in plain, asyncio and anyio tests."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import tasker_health.testing as kit
from tasker_health.testing import plugin

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
MOST_MILLISECONDS = 5
"""Of processor time, beyond pytest."""

MEASURE = """
import json, sys, time
import pytest
before, began = set(sys.modules), time.process_time()
import tasker_health.testing.plugin
took = time.process_time() - began
print(json.dumps([took * 1000, sorted(set(sys.modules) - before)]))
"""


def test_pytest_finds_it_by_its_entry_point():
    """As installed, so that nobody names it."""
    (found,) = entry_points(group="pytest11", name="tasker_health")
    assert found.value == plugin.__name__


def test_its_load_imports_nothing_and_takes_no_time():
    """Three small modules, in the best of five: it is in every run of pytest of everybody who has us installed."""
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=60
            ).stdout
        )
        for _ in range(5)
    ]
    assert [modules for _, modules in found] == [
        ["tasker_health", "tasker_health.testing", "tasker_health.testing.plugin"]
    ] * 5
    assert min(milliseconds for milliseconds, _ in found) < MOST_MILLISECONDS


def test_it_defines_fixtures_of_one_prefix_and_nothing_else():
    """No hook, option or marker, and no name that a user's own fixture could have."""
    tree = ast.parse(Path(plugin.__file__).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    public = {name for name in functions if not name.startswith("_")}
    assert all(name.startswith("tasker_") for name in public)
    assert {name for name in public if not functions[name].decorator_list} == set()
    assert "tasker_health" in public


def test_the_shop_window_shows_everything_that_there_is():
    """Sorted, each from its home, and nothing else."""
    assert kit.__all__ == sorted(kit.__all__) == sorted(kit._HOMES)
    for name, home in kit._HOMES.items():
        assert getattr(kit, name).__module__ == f"tasker_health.testing.{home}"
    assert set(dir(kit)) >= set(kit.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'assert_raedy'"):
        kit.assert_raedy  # noqa: B018


def test_the_kit_needs_no_pytest():
    """For those who use another runner."""
    script = f"import sys; sys.modules['pytest'] = None; from tasker_health.testing import {', '.join(kit.__all__)}"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


USERS_TESTS = '''
import asyncio

import pytest

from tasker_health.testing import assert_not_ready, assert_ready, settings_of

kept = []


def test_plain(tasker_client, tasker_checks):
    """Asks in process."""
    assert_ready(tasker_client)
    tasker_checks["critical"].fail("refused")
    assert_not_ready(tasker_client, failed=["critical"])


def test_without_a_question(tasker_client, tasker_health):
    """Nothing to stop."""


@pytest.mark.anyio
async def test_awaited(tasker_health, tasker_checks):
    """On the loop of the test."""
    assert (await tasker_health.ready()).ready
    tasker_checks["optional"].fail()
    assert (await tasker_health.ready()).degraded_checks == ["optional"]


@pytest.mark.anyio
async def test_asked_in_an_async_test(tasker_client):
    """The client waits by itself, on a loop of its own."""
    assert_ready(tasker_client)


def test_a_loop_of_its_own(tasker_health, tasker_source):
    """Closed before the fixture ends."""
    assert asyncio.run(tasker_health.status()).status == "healthy"
    assert (tasker_source.reads, tasker_source.closed) == (1, 0)
    kept.append(tasker_source)


def test_the_one_before_was_stopped():
    """By its fixture."""
    assert [source.closed for source in kept] == [1]


def test_the_clock(tasker_health, tasker_clock):
    """Which stands still."""
    first = asyncio.run(tasker_health.live())
    tasker_clock.move(60)
    assert (asyncio.run(tasker_health.live()).timestamp - first.timestamp).total_seconds() == 60


class TestOwnSettings:
    """The fixture is overridden."""

    @pytest.fixture
    def tasker_settings(self, tasker_database):
        return settings_of(
            server={"prefix": "/own"},
            database={"url": tasker_database.url},
            health={"readiness_max_age_seconds": 0, "readiness_timeout_seconds": 0.3},
        )

    def test_they_are_in_force(self, tasker_client, tasker_database):
        """The database hangs on demand."""
        assert_ready(tasker_client, prefix="/own")
        tasker_database.hang()
        body = assert_not_ready(tasker_client, failed=["database"], prefix="/own")
        assert body["checks"]["database"]["reason"] == "timeout"
        tasker_database.release()
        assert_ready(tasker_client, prefix="/own")


class TestOwnChecks:
    """So are the checks."""

    @pytest.fixture
    def tasker_checks(self):
        return {}

    def test_only_the_built_in_ones_are_left(self, tasker_client):
        assert list(assert_ready(tasker_client)["checks"]) == ["configuration"]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param
'''


def run_pytest(folder):
    """Return the exit code and the output of pytest in *folder*, with warnings as errors and strict markers."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=folder,
        env={**environment, "TASKER_SERVER__PREFIX": "/of-the-machine"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_users_tests_run_with_the_fixtures(tmp_path):
    """Plain and async, by the entry point alone; the settings of the machine change nothing."""
    (tmp_path / "test_orders.py").write_text(USERS_TESTS)
    code, said = run_pytest(tmp_path)
    assert (code, "9 passed" in said) == (0, True), said


def test_the_tests_of_the_documentation_pass(tmp_path):
    """Each block of `docs/testing.md` that holds a test."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    tests = [block for block in blocks if "def test_" in block]
    assert len(tests) == 2
    for number, block in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(block)
    code, said = run_pytest(tmp_path)
    assert (code, "2 passed" in said) == (0, True), said
