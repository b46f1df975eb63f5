"""The bridge: one loop in a thread, answers in time, nothing left behind, and a loop of its own after a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from fakes import settings_of
from server import wait_until
from tasker_health.bridge import Bridge

PATIENCE_SECONDS = 60


async def nothing():
    """Do nothing."""


@contextmanager
def bridge_of(start=nothing, stop=nothing, readiness_timeout_seconds=0.8):
    """A bridge that is stopped at the end."""
    settings = settings_of(health={"readiness_timeout_seconds": readiness_timeout_seconds})
    bridge = Bridge(start=start, stop=stop, drain=nothing, forked=lambda: None, settings=settings)
    try:
        yield bridge
    finally:
        bridge.stop()


@contextmanager
def held_up(bridge):
    """Hold the loop up until the block ends."""
    over, holds = threading.Event(), threading.Event()

    async def hold():
        holds.set()
        over.wait(PATIENCE_SECONDS)

    threading.Thread(target=lambda: bridge.call(hold, PATIENCE_SECONDS), daemon=True).start()
    assert holds.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        over.set()


def test_it_begins_at_first_use_and_not_before():
    """No thread until somebody asks; then one, a daemon, in which everybody is answered."""
    before = set(threading.enumerate())

    async def who():
        return threading.current_thread()

    with bridge_of() as bridge:
        assert not bridge.begun
        assert set(threading.enumerate()) == before
        threads = {bridge.call(who, PATIENCE_SECONDS) for _ in range(3)}
        (thread,) = threads
        assert thread.daemon
        assert set(threading.enumerate()) - before == threads
    wait_until(lambda: not thread.is_alive(), "the thread has ended")


def test_what_it_raises_reaches_the_asker():
    """The exception itself; its own `TimeoutError` is told from ours, and what would end a process does not."""

    async def fails(error):
        raise error

    with bridge_of() as bridge:
        with pytest.raises(KeyError, match="no"):
            bridge.call(lambda: fails(KeyError("no")), PATIENCE_SECONDS)
        with pytest.raises(RuntimeError, match="TimeoutError"):
            bridge.call(lambda: fails(TimeoutError()), PATIENCE_SECONDS)
        with pytest.raises(RuntimeError, match="SystemExit"):
            bridge.call(lambda: fails(SystemExit(3)), PATIENCE_SECONDS)
        assert bridge.call(lambda: asyncio.sleep(0, "well"), PATIENCE_SECONDS) == "well"


def test_an_asker_without_patience_leaves_and_what_he_asked_is_cancelled():
    """The answer comes when the patience ends, not when the coroutine does."""
    cancelled = threading.Event()

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with bridge_of() as bridge:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            bridge.call(never, 0.05)
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
        assert cancelled.wait(PATIENCE_SECONDS)


def test_a_stalled_loop_costs_one_asker_his_patience_and_the_others_nothing():
    """Who comes after he has left is told at once, nothing piles up, and the loop is asked again when it runs again."""
    with bridge_of(readiness_timeout_seconds=0.2) as bridge:
        assert bridge.call(lambda: asyncio.sleep(0, "well"), PATIENCE_SECONDS) == "well"
        with held_up(bridge):
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="stalled"):
                bridge.call(nothing, PATIENCE_SECONDS)
            first = time.monotonic() - began
            began = time.monotonic()
            for _ in range(1000):
                with pytest.raises(TimeoutError, match="stalled"):
                    bridge.call(nothing, PATIENCE_SECONDS)
            assert 0.2 <= first < PATIENCE_SECONDS / 2
            assert (time.monotonic() - began) / 1000 < 0.1
            assert len(bridge._running.loop._ready) < 5

        def well():
            try:
                return bridge.call(lambda: asyncio.sleep(0, "well"), PATIENCE_SECONDS) == "well"
            except TimeoutError:
                return False

        wait_until(well, "the loop answers again")


def test_start_waits_and_says_what_failed_and_begin_does_not():
    """`begin` is for requests of the application, which must not fail for us."""

    async def fails():
        raise OSError("the port is taken")

    with bridge_of(start=fails) as bridge, pytest.raises(OSError, match="taken"):
        bridge.start()
    with bridge_of(start=fails) as bridge:
        bridge.begin()
        assert bridge.call(lambda: asyncio.sleep(0, "well"), PATIENCE_SECONDS) == "well"


def test_start_comes_first_and_stop_last():
    """Once each, however often it is asked; and again after it was stopped."""
    notes = []

    async def note(what):
        notes.append(what)

    with bridge_of(start=lambda: note("start"), stop=lambda: note("stop")) as bridge:
        for _ in range(2):
            bridge.start()
            bridge.start()
            bridge.call(lambda: note("asked"), PATIENCE_SECONDS)
            bridge.stop()
            bridge.stop()
    assert notes == ["start", "asked", "stop"] * 2


def test_a_stop_that_hangs_keeps_nobody():
    """Nor does a loop that is held up."""

    async def never():
        await asyncio.Event().wait()

    with bridge_of(stop=never, readiness_timeout_seconds=0.1) as bridge:
        bridge.start()
        began = time.monotonic()
        bridge.stop()
        assert time.monotonic() - began < PATIENCE_SECONDS / 2


def test_askers_from_many_threads_share_the_one_loop():
    """Each gets his own answer."""
    answers, threads = [], []

    async def double(number):
        await asyncio.sleep(0.001)
        return 2 * number

    with bridge_of() as bridge:
        for number in range(50):
            ask = lambda number=number: answers.append((number, bridge.call(lambda: double(number), PATIENCE_SECONDS)))  # noqa: E731
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert sorted(answers) == [(number, 2 * number) for number in range(50)]


def test_a_bridge_that_nobody_has_any_more_leaves_no_thread():
    """Its thread ends when it is collected."""
    before = set(threading.enumerate())
    settings = settings_of()
    bridge = Bridge(start=nothing, stop=nothing, drain=nothing, forked=lambda: None, settings=settings)
    bridge.start()
    assert len(set(threading.enumerate()) - before) == 1
    del bridge
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= before, "the thread has ended")


_FORKS = """
import asyncio, os, threading
from tasker_health.bridge import Bridge
from tasker_health.settings import Settings

forked = []

async def nothing():
    pass

async def where():
    return os.getpid(), threading.get_native_id()

hooks = {"start": nothing, "stop": nothing, "drain": nothing, "forked": lambda: forked.append(os.getpid())}
bridge = Bridge(**hooks, settings=Settings())
asked = ASKED
if asked:
    parent = bridge.call(where, 30)
child = os.fork()
if child == 0:
    pid, thread = bridge.call(where, 30)
    assert pid == os.getpid(), pid
    assert not asked or thread != parent[1]
    assert forked == ([os.getpid()] if asked else []), forked
    raise SystemExit(7)  # with the exit handlers, as gunicorn's workers end
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
pid, thread = bridge.call(where, 30)
assert pid == os.getpid() and forked == []
assert not asked or (pid, thread) == parent  # the child has not touched it
assert threading.active_count() == 2
bridge.stop()
assert threading.active_count() == 1
print("well")
"""


@pytest.mark.parametrize("asked", [True, False])
def test_a_child_has_a_loop_of_its_own(asked):
    """Whether its parent has been asked before or not; the parent's goes on."""
    done = run(_FORKS.replace("ASKED", str(asked)))
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


_ENDS = """
import asyncio, threading
from tasker_health.bridge import Bridge
from tasker_health.settings import Settings

async def nothing():
    pass

async def stop():
    print("stopped", flush=True)
    await HOW

async def for_ever():
    await asyncio.Event().wait()

bridge = Bridge(start=nothing, stop=stop, drain=nothing, forked=lambda: None, settings=Settings())
bridge.call(nothing, 30)
try:
    bridge.call(for_ever, 0.01)
except TimeoutError:
    pass
print("ends", flush=True)
"""


@pytest.mark.parametrize("how", ["nothing()", "for_ever()"])
def test_a_process_ends_with_what_it_has_begun(how):
    """By itself: what is open is closed, what hangs is left, and nothing is written to standard error."""
    done = run(_ENDS.replace("HOW", how))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\nstopped\n", "")


def run(code):
    """Return how *code* has ended in a process of its own."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("TASKER_")},
    )
