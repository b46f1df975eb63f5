"""Processes that are followed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from server import wait_until
from tasker_health.guard import following as following_module
from tasker_health.guard.following import DUMP_STACKS, Followed, Following
from tasker_health.guard.memory import start_time

WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def child():
    """A process that waits."""
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def following():
    """Nobody is followed yet."""
    with select.epoll() as poller:
        yield Following(poller)


def without_pidfd(monkeypatch):
    """Have the kernel know no pidfd."""

    def fail(pid):
        raise OSError

    monkeypatch.setattr(following_module.os, "pidfd_open", fail)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_the_end_is_noticed(following, child, monkeypatch, has_pidfd):
    """Also of a process that nobody has waited for, and where the kernel offers no pidfd."""
    if not has_pidfd:
        without_pidfd(monkeypatch)
    process = following.follow(child.pid, start_time(child.pid))
    following.look_at_all()
    assert not process.ended
    child.kill()
    wait_until(lambda: following.look_at_all() or process.ended, "its end is noticed")
    assert process.descriptor == -1


def test_the_poller_tells_it(following, child):
    """Its descriptor is readable at its end, and gone after it was looked at."""
    process = following.follow(child.pid)
    descriptor = process.descriptor
    assert following.look_behind(descriptor)
    assert not process.ended
    child.kill()
    assert following._poller.poll(30) == [(descriptor, select.EPOLLIN)]
    assert following.look_behind(descriptor)
    assert process.ended
    assert not following.look_behind(descriptor)
    assert following._poller.poll(0) == []


def test_who_is_not_meant_is_not_followed(following, child):
    """Nobody, and another process that has the id by now."""
    assert following.follow(child.pid, start_time(child.pid) + 1).ended
    child.kill()
    child.wait()
    assert following.follow(child.pid).ended


def test_a_signal_is_sent_only_to_its_handler(child):
    """Without one it would end the process."""
    followed = Followed(child.pid)
    assert not followed.dump_stacks()
    assert not Followed(1 << 22).dump_stacks()
    assert child.poll() is None
    followed.close()
    received = []
    before = signal.signal(DUMP_STACKS, lambda number, _frame: received.append(number))
    try:
        me = Followed(os.getpid())
        assert me.dump_stacks()
        wait_until(lambda: received, "the signal comes")
        me.close()
    finally:
        signal.signal(DUMP_STACKS, before)


def test_what_cannot_be_known_is_not_an_end(child, monkeypatch):
    """Without /proc the pidfd alone decides."""
    with monkeypatch.context() as patched:
        patched.setattr(following_module, "_stat", lambda _pid: following_module.UNKNOWN)
        followed = Followed(child.pid, 12345)
        followed.look()
        assert not followed.ended
        child.kill()
        wait_until(lambda: followed.look() or followed.ended, "its end is noticed")
        followed.close()
