"""Restarts leave nothing: no process, thread, descriptor, port or connection. The soak test has a thousand of each."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from census import children, own
from fakes import settings_of
from restarts import health_with, reload, replace_workers, start_and_stop, start_and_stop_bridges
from server import free_port, wait_until
from tasker_health import Health


@pytest.mark.parametrize(("skin", "server"), [("pod.wsgi", "gunicorn, sync"), ("pod.asgi", "gunicorn, uvicorn")])
def test_workers_that_are_replaced_leave_nothing(tmp_path, postgres_database, skin, server):
    """Ended in good order, killed, and by a reload of gunicorn's, under a guard that stays."""
    replace_workers(tmp_path, postgres_database, 6, skin, server)


def test_a_health_that_is_started_and_stopped_leaves_nothing(postgres_database):
    """On one event loop, with a guard each time."""
    before, after = asyncio.run(start_and_stop(postgres_database, 8))
    assert after.at_most(before), (before, after)


def test_a_guard_that_two_share_in_one_process_ends_with_the_second(postgres_database):
    """Although who has started it stopped first."""
    before, others = own(postgres_database), children()
    first, second = (health_with(postgres_database).wsgi() for _ in range(2))
    first.start()
    second.start()
    first.stop()
    assert len(children() - others) == 1
    second.stop()
    wait_until(lambda: own(postgres_database).at_most(before), f"{own()} is again {before}")


def test_applications_at_two_addresses_have_a_guard_each():
    """Of one supervisor, with one port and one name, however long: in a pod each has an address of its own."""
    port, before = free_port(), children()
    skins = [
        Health(
            settings_of(
                guard={"enabled": True, "host": host, "port": port},
                health={"service_name": "shop" * 50},
            )
        ).wsgi()
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    for each in skins:
        each.start()
    try:
        assert len(children() - before) == 2
        for host in ("127.0.0.1", "127.0.0.2"):
            wait_until(lambda: httpx.get(f"http://{host}:{port}/tasker/health/live").is_success, f"{host} answers")  # noqa: B023
    finally:
        for each in skins:
            each.stop()


def test_bridges_that_are_started_and_stopped_leave_nothing(postgres_database):
    """In several threads at the same time."""
    start_and_stop_bridges(postgres_database, 12)


def test_a_reloader_leaves_nothing(tmp_path, postgres_database):
    """Each time the source is touched another process serves, and the old one's guard and connections are gone."""
    reload(tmp_path, postgres_database, 1, "pod.asgi", "uvicorn, reloading")
