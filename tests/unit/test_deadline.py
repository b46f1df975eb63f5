"""Waiting that ends, where a check cannot show it: a thread that cannot be made, and a process that is forked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time

import pytest

from loop import in_loop
from tasker_health import deadline
from tasker_health.deadline import MOST_THREADS, Wait, in_thread, within


def test_threads_that_could_not_be_made_are_not_counted_as_running(monkeypatch):
    """A call is answered as soon as there is memory for a thread again, however often there was none."""

    def no_memory(*_args, **_options):
        raise MemoryError

    async def play():
        with monkeypatch.context() as without_memory:
            without_memory.setattr(threading, "Thread", no_memory)
            for _ in range(MOST_THREADS):
                with pytest.raises(MemoryError):
                    in_thread(lambda: 1, "unmade")
        return await in_thread(lambda: 1, "unmade")

    assert asyncio.run(play()) == 1


def test_a_forked_child_has_no_threads_of_its_parent():
    """However many of those hang, and whichever of them held the lock at that moment."""

    async def ask():
        return await asyncio.wait_for(in_thread(lambda: "well", "forked"), 30)

    async def hang():
        over = threading.Event()
        hung = [in_thread(over.wait, "forked") for _ in range(MOST_THREADS)]
        with deadline._lock:
            child = os.fork()
        if child == 0:
            os._exit(_outcome(ask))
        over.set()
        await asyncio.wait(hung, timeout=30)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert asyncio.run(hang()) == 7


def test_a_wait_tells_whether_the_loop_was_starved():
    """A loop that was held up meanwhile is known from one that merely waited."""

    async def play(*, hold_up):
        wait = Wait()
        future = asyncio.get_running_loop().create_future()
        if hold_up:
            asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        is_done = await wait.until(asyncio.get_running_loop().time() + 0.3, future)
        return is_done, wait

    is_done, wait = asyncio.run(play(hold_up=True))
    assert (is_done, wait.was_starved) == (False, True)
    assert wait.late_seconds >= 0.3
    assert asyncio.run(play(hold_up=False))[0] is False


def test_a_wait_ends_when_its_future_does():
    """And not at its deadline."""

    async def play():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, future.set_result, 1)
        return await Wait().until(asyncio.get_running_loop().time() + 1000, future)

    assert asyncio.run(play()) is True


def _outcome(ask):
    """Return 7 when *ask* is answered on a loop of this very process."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(ask())), daemon=True)
    thread.start()
    thread.join(30)
    return 7 if answers == ["well"] else 1


@in_loop
async def test_what_does_not_let_itself_be_cancelled_is_collected_in_silence(monkeypatch):
    """Nobody waits for it any more, so nothing of it is raised where nobody could catch it."""
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)

    async def swallow():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await within(swallow(), 0.01)
    await asyncio.sleep(0)
    gc.collect()
    assert raised == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
