"""A thousand restarts leave no process, port, thread, descriptor or connection.

Run by `./dev soak`; RESTARTS says how many (1000).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

from restarts import reload, replace_workers, start_and_stop, start_and_stop_bridges

RESTARTS = int(os.environ.get("RESTARTS", "1000"))
RELOADS = max(1, RESTARTS // 50)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(autouse=True)
def told(record_property, capsys):
    """A function that tells a figure, with the time since it was made."""
    began = time.monotonic()

    def tell(what):
        with capsys.disabled():
            sys.stdout.write(f"\n{what}, {time.monotonic() - began:.0f} s\n")

    return tell


@pytest.mark.parametrize(
    ("skin", "server"),
    [("pod.wsgi", "gunicorn, sync"), ("pod.asgi", "gunicorn, uvicorn")],
)
def test_workers_that_are_replaced_leave_nothing(tmp_path, postgres_database, told, skin, server):
    """By SIGTERM, SIGKILL and SIGHUP, with a guard and a database: afterwards as much is held as before, or less."""
    before, done = replace_workers(tmp_path, postgres_database, RESTARTS, skin, server)
    told(f"{server}: {done} workers replaced; held before and after: {before}")


def test_a_health_that_is_started_and_stopped_leaves_nothing(postgres_database, told):
    """On one event loop, with a guard each time."""
    before, after = asyncio.run(start_and_stop(postgres_database, RESTARTS))
    told(f"{RESTARTS} starts on one loop: {before}, {after}")
    assert after.at_most(before)


def test_bridges_that_are_started_and_stopped_leave_nothing(postgres_database, told):
    """In four threads."""
    before, after = start_and_stop_bridges(postgres_database, RESTARTS)
    told(f"{RESTARTS} bridges: {before}, {after}")


@pytest.mark.parametrize(
    ("skin", "server"),
    [("pod.asgi", "uvicorn, reloading"), ("pod.wsgi", "gunicorn, reloading"), ("pod.asgi", "hypercorn, reloading")],
)
def test_a_reloader_leaves_nothing(tmp_path, postgres_database, told, skin, server):
    """Each time the source is touched another process serves, and nothing of the old one is left."""
    before = reload(tmp_path, postgres_database, RELOADS, skin, server)
    told(f"{server}: {RELOADS} reloads; held before and after: {before}")
