"""SIGTERM of an application that somebody else's server runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from server import wait_until
from tasker_health.termination import Termination


@pytest.fixture
def handed_on():
    """What a server's own handler was called with; the handler is there."""
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGTERM, before)


async def until(condition):
    """Wait until *condition* holds, for a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def test_it_drains_and_then_hands_the_signal_on(handed_on):
    """First the drain, later the server's own handler, once."""
    drained = []

    async def drain():
        drained.append(list(handed_on))

    async def run():
        termination = Termination(0.05)
        assert termination.watch(drain)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: handed_on)
        termination.leave()

    asyncio.run(run())
    assert (drained, handed_on) == ([[]], [signal.SIGTERM])


def test_a_loop_in_another_thread_drains_and_the_main_thread_hands_the_signal_on(handed_on):
    """As for a server without an event loop: its handler runs where handlers run, after the drain."""
    threads = []
    before = signal.signal(signal.SIGTERM, lambda *_: threads.append(threading.current_thread()))

    async def drain():
        threads.append(threading.current_thread())

    loop = asyncio.new_event_loop()
    runs = threading.Thread(target=loop.run_forever)
    runs.start()
    termination = Termination(0.05)
    assert termination.watch(drain, loop)
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: len(threads) > 1, "the server has the signal")
    termination.leave()
    loop.call_soon_threadsafe(loop.stop)
    runs.join()
    loop.close()
    signal.signal(signal.SIGTERM, before)
    assert threads == [runs, threading.main_thread()]


def test_a_forked_child_is_not_drained(handed_on):
    """It has the handler but not the loop: the server's own handler is called at once, and the parent hears nothing."""
    drained = []

    async def drain():
        drained.append(os.getpid())

    async def run():
        termination = Termination(600)
        termination.watch(drain)
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(7 if handed_on == [signal.SIGTERM] else 1)
        _, status = os.waitpid(child, 0)
        await asyncio.sleep(0)
        termination.leave()
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(run()) == 7
    assert (drained, handed_on) == ([], [])


def test_a_second_signal_is_handed_on_at_once(handed_on):
    """However long the drain."""

    async def drain():
        pass

    async def run():
        termination = Termination(600)
        termination.watch(drain)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: handed_on)
        termination.leave()

    asyncio.run(run())
    assert handed_on == [signal.SIGTERM]


def test_a_drain_that_fails_keeps_nobody_running(handed_on):
    """The signal is handed on whatever the drain did."""

    async def drain():
        raise OSError("no")

    async def run():
        termination = Termination(0)
        termination.watch(drain)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: handed_on)
        termination.leave()

    asyncio.run(run())
    assert handed_on == [signal.SIGTERM]


def test_it_leaves_what_it_found(handed_on):
    """Afterwards the server's own handler is there again, unless somebody has put another one in its place."""

    async def run():
        before = signal.getsignal(signal.SIGTERM)
        termination = Termination(1)
        termination.watch(asyncio.Event().wait)
        assert signal.getsignal(signal.SIGTERM) is not before
        termination.leave()
        assert signal.getsignal(signal.SIGTERM) is before
        termination.watch(asyncio.Event().wait)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        termination.leave()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN

    asyncio.run(run())


def test_where_it_cannot_stand_before_a_handler_it_says_so(handed_on):
    """In a thread, before the event loop's own handler, and where nobody handles the signal."""

    async def watch():
        return Termination(1).watch(asyncio.Event().wait)

    async def before_the_loop():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        try:
            return await watch()
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    answers = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(watch())))
    thread.start()
    thread.join()
    answers.append(asyncio.run(before_the_loop()))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    answers.append(asyncio.run(watch()))
    assert answers == [False, False, False]


def test_two_in_one_process_drain_side_by_side(handed_on):
    """Both are unready at the first signal, and the server hears of it once, after the longer drain."""
    drained = []

    async def run():
        loop = asyncio.get_running_loop()
        inner, outer = Termination(0.05), Termination(0.3)
        for number, each in enumerate((inner, outer)):
            assert each.watch(lambda number=number: note(number))
        began = loop.time()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: len(drained) > 1)
        assert not handed_on
        await until(lambda: handed_on)
        took = loop.time() - began
        await asyncio.sleep(0.05)
        outer.leave()
        inner.leave()
        return took

    async def note(number):
        drained.append(number)

    assert asyncio.run(run()) >= 0.3
    assert sorted(drained) == [0, 1]
    assert handed_on == [signal.SIGTERM]


def test_who_leaves_first_of_two_hands_the_signal_on(handed_on):
    """In whichever order they leave, the signal comes to the server."""
    server = signal.getsignal(signal.SIGTERM)

    async def drain():
        """Be unready."""

    async def run():
        first, second = Termination(60), Termination(60)
        assert first.watch(drain)
        assert second.watch(drain)
        first.leave()
        second.leave()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: handed_on)
        first.leave()

    asyncio.run(run())
    assert handed_on == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == server


def test_started_again_it_does_not_hand_on_to_itself(handed_on):
    """Left in another thread, where no handler can be given back, and watched again."""

    async def drain():
        """Be unready."""

    async def run():
        termination = Termination(0.05)
        assert termination.watch(drain)
        await asyncio.to_thread(termination.leave)
        assert termination.watch(drain)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: handed_on)
        termination.leave()

    asyncio.run(run())
    assert handed_on == [signal.SIGTERM]
