"""Watchers: the present state, then every change, the latest alone; nothing is looked at without them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from loop import in_loop
from tasker_health.grpc import watchers as room
from tasker_health.grpc.services import Serving
from tasker_health.grpc.watchers import Watcher, Watchers

PATIENCE_SECONDS = 30
YES, NO = Serving.SERVING, Serving.NOT_SERVING


class FakeServices:
    """Services whose states are set by the test, and whose answers count."""

    names = ("", "stock", "liveness")

    def __init__(self):
        self.now = {"": YES, "stock": YES, "liveness": YES}
        self.asked = []
        self.drained = False
        self.fault = None
        self.seconds_to_the_next_answer = 0.0

    async def states(self, names):
        """Return the states of *names*, and note them."""
        self.asked.append(set(names))
        if self.fault is not None:
            raise self.fault
        return {name: NO if self.is_drained(name) else self.now.get(name, Serving.SERVICE_UNKNOWN) for name in names}

    def is_drained(self, name):
        """Return whether *name* is drained."""
        return self.drained and name != "liveness"


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    """The pauses are shorter."""
    monkeypatch.setattr(room, "_LEAST_PAUSE_SECONDS", 0.001)


async def coming(watcher):
    """Return what comes next, or fail when nothing does."""
    return await asyncio.wait_for(watcher.next(), PATIENCE_SECONDS)


@in_loop
async def test_only_the_latest_state_is_kept():
    """A client that reads slowly gets one message of what changed meanwhile, and none when it changed back."""
    watcher = Watcher("stock")
    watcher.begin(YES)
    assert await coming(watcher) is YES
    for _ in range(1000):
        watcher.tell(NO)
        watcher.tell(YES)
    waits = asyncio.ensure_future(watcher.next())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waits.done()
    watcher.tell(YES)
    watcher.tell(NO)
    assert await asyncio.wait_for(waits, PATIENCE_SECONDS) is NO


@in_loop
async def test_what_is_newer_than_the_beginning_wins():
    """The state that was asked for at the beginning may come after a change has been told."""
    watcher = Watcher("stock")
    watcher.tell(NO)
    watcher.begin(YES)
    assert await coming(watcher) is NO


@in_loop
async def test_a_change_is_told():
    """And nothing while there is none: a thousand looks later it is the first message."""
    services = FakeServices()
    watchers = Watchers(services)
    watcher = watchers.add("stock")
    watcher.begin(YES)
    assert await coming(watcher) is YES
    next_one = asyncio.ensure_future(watcher.next())
    while len(services.asked) < 20:
        await asyncio.sleep(0.001)
    assert not next_one.done()
    services.now["stock"] = NO
    assert await asyncio.wait_for(next_one, PATIENCE_SECONDS) is NO
    watchers.end()


@in_loop
async def test_only_what_is_watched_is_asked_for():
    """Once for all who watch the same; not what somebody watched who has left."""
    services = FakeServices()
    watchers = Watchers(services)
    left = watchers.add("")
    for name in ("stock", "stock", "nothing"):
        watchers.add(name)
    watchers.remove(left)
    while len(services.asked) < 3:
        await asyncio.sleep(0.001)
    assert all(asked == {"stock", "nothing"} for asked in services.asked)
    watchers.end()


@in_loop
async def test_nothing_is_looked_at_without_a_watcher():
    """Not before the first, not after the last; a later one begins anew."""
    services = FakeServices()
    watchers = Watchers(services)
    for _ in range(3):
        assert len(asyncio.all_tasks()) == 1
        watcher = watchers.add("stock")
        assert len(asyncio.all_tasks()) == 2
        watchers.remove(watcher)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(("serves_for", "pause"), [(-1, 0.25), (0.1, 0.25), (0.7, 0.7), (60, 1.0)])
@in_loop
async def test_it_waits_until_the_answer_is_too_old(monkeypatch, serves_for, pause):
    """So that watching asks nobody more often; at least 0.25 s, and 1 s at most, for what else may change."""
    monkeypatch.setattr(room, "_LEAST_PAUSE_SECONDS", 0.25)
    waited = []

    async def sleep(seconds):
        waited.append(seconds)
        await asyncio.Event().wait()

    services = FakeServices()
    services.seconds_to_the_next_answer = serves_for
    watchers = Watchers(services)
    turn = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    watchers.add("stock")
    await turn(0)
    assert waited == [pause]
    watchers.end()


@in_loop
async def test_a_drain_is_told_at_once(monkeypatch):
    """To those who watch what stands for traffic, without a look; an unknown service stays unknown."""
    monkeypatch.setattr(room, "_LEAST_PAUSE_SECONDS", 3600)
    monkeypatch.setattr(room, "_LONGEST_PAUSE_SECONDS", 3600)
    services = FakeServices()
    watchers = Watchers(services)
    all_of_them = {name: watchers.add(name) for name in ("", "stock", "liveness", "nothing")}
    for name, watcher in all_of_them.items():
        watcher.begin(services.now.get(name, Serving.SERVICE_UNKNOWN))
        await coming(watcher)
    services.drained = True
    watchers.drain()
    assert [await coming(all_of_them[name]) for name in ("", "stock")] == [NO, NO]
    assert services.asked == []
    watchers.end()
    assert [await coming(all_of_them[name]) for name in ("liveness", "nothing")] == [None, None]


@in_loop
async def test_there_are_not_too_many(monkeypatch):
    """One more is refused; when one has left there is room."""
    monkeypatch.setattr(room, "MOST_WATCHERS", 2)
    watchers = Watchers(FakeServices())
    first, _ = watchers.add(""), watchers.add("")
    assert watchers.add("") is None
    watchers.remove(first)
    assert watchers.add("") is not None
    watchers.end()


@in_loop
async def test_who_comes_after_the_end_leaves_at_once():
    """And nothing is looked at for them."""
    watchers = Watchers(FakeServices())
    watchers.end()
    watcher = watchers.add("stock")
    watcher.begin(YES)
    assert await coming(watcher) is None
    assert len(asyncio.all_tasks()) == 1


@in_loop
async def test_a_look_that_fails_is_not_serving(caplog):
    """It is logged, and the next one is tried."""
    services = FakeServices()
    watchers = Watchers(services)
    watcher = watchers.add("stock")
    watcher.begin(YES)
    await coming(watcher)
    services.fault = RuntimeError("no")
    with caplog.at_level(logging.ERROR):
        assert await coming(watcher) is NO
    assert "cannot be looked at" in caplog.text
    services.fault = None
    assert await coming(watcher) is YES
    watchers.end()
