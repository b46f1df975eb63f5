"""The memory that the application and its guard share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wait_until
from tasker_health.guard import memory as memory_module
from tasker_health.guard.memory import (
    DRAINING,
    DUMPS_STACKS,
    REPORT_BYTES,
    SIZE,
    SLOTS,
    Memory,
    is_running,
    start_time,
)
from tasker_health.guard.packing import pack, unpack

OPEN = "import os, sys; from tasker_health.guard.memory import Memory; memory = Memory(int(sys.argv[1]))\n"

names = st.text(st.characters(codec="ascii"), max_size=80)
reports = st.dictionaries(names, st.tuples(st.integers(0, 65535), st.binary(max_size=300)), max_size=8)


@pytest.fixture
def memory():
    """New memory."""
    created = Memory.create()
    yield created
    created.close()


@pytest.fixture
def run(memory):
    """A function that starts a process with the memory; it runs until its standard input ends."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{OPEN}{code}\nprint('ready', flush=True); sys.stdin.read()",
                str(memory.descriptor),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[memory.descriptor],
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@given(reports)
def test_what_is_packed_is_unpacked(given_reports):
    """Every report comes back with its name, code and body."""
    assert unpack(pack(given_reports)) == given_reports


@given(st.binary(max_size=300))
def test_unpacking_anything_raises_nothing(data):
    """What was not packed is no report, or reports of bytes that lie within it."""
    for name, (code, body) in unpack(data).items():
        assert name.encode() in data
        assert body in data
        assert 0 <= code <= 65535


@given(reports, st.data())
def test_what_is_cut_off_is_not_invented(given_reports, data):
    """A part of what was packed holds the first reports as they were, or nothing."""
    packed = pack(given_reports)
    found = unpack(packed[: data.draw(st.integers(0, len(packed)))])
    assert found.items() <= given_reports.items()


def test_a_slot_tells_who_took_it_and_when_it_beat(memory):
    """Process, its start, heartbeat, lag and flags are those of its owner."""
    before = time.monotonic_ns()
    slot = memory.take(DUMPS_STACKS)
    assert (slot.pid, slot.started, slot.flags) == (os.getpid(), start_time(os.getpid()), DUMPS_STACKS)
    assert before <= slot.beat_ns <= time.monotonic_ns()
    assert (slot.lag_ns, slot.published_ns) == (0, 0)
    first = slot.beat_ns
    slot.beat(7)
    slot.flag(DRAINING)
    assert slot.beat_ns > first
    assert (slot.lag_ns, slot.flags) == (7, DUMPS_STACKS | DRAINING)
    assert [each.index for each in memory.taken()] == [0]
    slot.give_back()
    assert memory.taken() == []
    assert memory.top == 1


def test_each_takes_another_slot_until_none_is_left(memory):
    """All slots can be taken at once, none twice; one more is an error, and one that is given back is free."""
    slots = [memory.take() for _ in range(SLOTS)]
    assert sorted(slot.index for slot in slots) == list(range(SLOTS))
    with pytest.raises(OSError, match="all 128 slots"):
        memory.take()
    slots[5].give_back()
    assert memory.take().index == 5


def test_threads_take_different_slots(memory):
    """Also when they take them at the same time: the file's lock does not keep threads of one process apart."""
    barrier = threading.Barrier(8)
    taken = []

    def take():
        barrier.wait()
        taken.extend(memory.take().index for _ in range(10))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(80))


def test_processes_take_different_slots(memory, run):
    """Each has its own, and sees those of the others; that of a process that died is taken again."""
    first = run("slot = memory.take(); slot.publish({'ready': (200, b'first')})")
    second = run("slot = memory.take(); slot.publish({'ready': (503, b'second')})")
    mine = memory.take()
    assert {slot.pid for slot in memory.taken()} == {first.pid, second.pid, os.getpid()}
    by_pid = {slot.pid: slot for slot in memory.taken()}
    assert unpack(by_pid[first.pid].read()[1]) == {"ready": (200, b"first")}
    assert unpack(by_pid[second.pid].read()[1]) == {"ready": (503, b"second")}
    old, sequence = by_pid[first.pid], by_pid[first.pid].sequence
    first.kill()
    first.wait()
    again = memory.take()
    assert again.index == old.index != mine.index
    assert again.sequence > sequence
    assert (again.read()[1], again.published_ns) == (b"", 0)


def test_heartbeats_of_another_process_are_seen(memory, run):
    """What one process writes another one sees; when it is stopped, nothing changes any more."""
    code = "slot = memory.take()\nimport threading\ndef beat():\n while True: slot.beat()\n"
    process = run(code + "threading.Thread(target=beat, daemon=True).start()")
    [slot] = memory.taken()
    first, heads = slot.beat_ns, memory.heads()
    wait_until(lambda: slot.beat_ns > first, "it beats")
    assert memory.heads() != heads
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: (heads := memory.heads()) and all(memory.heads() == heads for _ in range(1000)), "it stands")
    assert is_running(process.pid, slot.started)


def test_no_report_is_ever_torn(memory, run):
    """While another process publishes without a pause, what is read is whole, and one of what was published."""
    code = """
slot = memory.take()
import threading
def publish():
    number = 0
    while True:
        number += 1
        slot.publish({"ready": (200, bytes((number % 256,)) * (1 + number % 3 * 15000))})
threading.Thread(target=publish, daemon=True).start()
"""
    run(code)
    [slot] = memory.taken()
    seen, whole = set(), 0
    ends_at = time.monotonic() + 30
    while (whole < 1000 or len(seen) < 50) and time.monotonic() < ends_at:
        sequence, data = slot.read()
        if sequence & 1 or not data:
            continue
        code, body = unpack(data)["ready"]
        assert (code, len(set(body))) == (200, 1)
        assert len(body) in {1, 15001, 30001}
        whole += 1
        seen.add(sequence)
    assert len(seen) >= 50


def test_a_publication_that_is_cut_short_is_not_read(memory, monkeypatch):
    """Neither while it lies there half written, nor taken for whole when the next one begins."""
    slot = memory.take()
    slot.publish({"ready": (200, b"old")})
    real = time.monotonic_ns

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(memory_module.time, "monotonic_ns", interrupt)
    with pytest.raises(KeyboardInterrupt):
        slot.publish({"ready": (200, b"half")})
    monkeypatch.setattr(memory_module.time, "monotonic_ns", real)
    sequence, data = slot.read()
    assert (sequence & 1, data) == (1, b"")
    seen = []

    def look():
        seen.append(slot.read())
        return real()

    monkeypatch.setattr(memory_module.time, "monotonic_ns", look)
    slot.publish({"ready": (200, b"new")})
    assert seen[0][0] & 1
    assert unpack(slot.read()[1]) == {"ready": (200, b"new")}


def test_the_checksum_holds_where_the_count_does_not(memory):
    """Bytes that arrive after the count, as on processors that reorder stores, are not read as a report."""
    slot = memory.take()
    slot.publish({"ready": (200, b"report")})
    memory._view[slot._reports_at + 12] ^= 1
    sequence, data = slot.read()
    assert (sequence & 1, data) == (1, b"")


def test_reports_that_are_too_long_are_refused(memory):
    """The longest fits; one byte more is an error that leaves the last report in place."""
    slot = memory.take()
    longest = b"x" * (REPORT_BYTES - len(pack({"ready": (200, b"")})))
    slot.publish({"ready": (200, longest)})
    with pytest.raises(ValueError, match="the guard's memory takes"):
        slot.publish({"ready": (200, longest + b"x")})
    assert unpack(slot.read()[1]) == {"ready": (200, longest)}


def test_slots_do_not_overlap(memory):
    """The longest reports of neighbours leave heartbeats and each other alone."""
    slots = [memory.take() for _ in range(SLOTS)]
    for slot in slots:
        slot.publish({"ready": (200, bytes((slot.index,)) * (REPORT_BYTES - 13))})
    for slot in slots:
        assert unpack(slot.read()[1]) == {"ready": (200, bytes((slot.index,)) * (REPORT_BYTES - 13))}
        assert slot.pid == os.getpid()
    with pytest.raises(IndexError):
        memory._view[SIZE]


def test_it_cannot_be_made_shorter(memory):
    """A reader of memory that is cut off would be killed by SIGBUS."""
    with pytest.raises(PermissionError):
        os.ftruncate(memory.descriptor, 4096)


@pytest.mark.parametrize("content", [b"", b"x" * SIZE])
def test_other_files_are_refused(tmp_path, content):
    """A file of other size or content is no memory of a guard."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("r+b") as file, pytest.raises(ValueError):
        Memory(os.dup(file.fileno()))


def test_a_process_is_known_by_its_start(run):
    """Neither a zombie, nor nobody, nor another process with the same id is the one that was meant."""
    process = run("")
    started = start_time(process.pid)
    assert is_running(process.pid, started)
    assert not is_running(process.pid, started + 1)
    assert not is_running(process.pid, 0)
    process.kill()
    wait_until(lambda: not is_running(process.pid, started), "a zombie does not run")
    process.wait()
    assert start_time(process.pid) == 0
