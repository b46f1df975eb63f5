"""The check of the worker: does it get on with its work?"""

from __future__ import annotations

import threading

import pytest
from worker import SLOWEST_ORDER_SECONDS, Worker

from tasker_health.testing import assert_not_ready, assert_ready


@pytest.fixture
def work():
    """What the worker does for each order: it begins, and returns when the test lets it."""

    def do(order):
        work.begun.set()
        assert work.may_end.wait(30)
        work.orders.append(order)
        work.ended.set()

    work = do
    work.begun, work.may_end, work.ended, work.orders = threading.Event(), threading.Event(), threading.Event(), []
    return work


@pytest.fixture
def worker(work, tasker_clock):
    """A worker at work, by the clock of the test."""
    worker = Worker(work, tasker_clock.monotonic)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.stopping.set()
    thread.join()


def test_an_order_that_takes_too_long_is_a_stall(worker, work, tasker_clock, tasker_health, tasker_client):
    """The check `progress` fails in the middle of it, and is well again after it; the service stays ready."""
    tasker_health.check("progress", critical=False)(worker.progress)
    worker.orders.put("order-1")
    assert work.begun.wait(30)
    assert_ready(tasker_client, "progress")
    tasker_clock.move(SLOWEST_ORDER_SECONDS + 1)
    body = assert_not_ready(tasker_client, "progress")
    assert body["checks"]["progress"]["reason"] == "stalled"
    assert assert_ready(tasker_client)["degraded_checks"] == ["progress"]
    work.may_end.set()
    assert work.ended.wait(30)
