"""Who is alive, judged from heartbeats."""

from __future__ import annotations

import pytest

from tasker_health.guard.memory import DRAINING, THREAD


def verdict(rooms):
    """Return what `live` would say."""
    watch = rooms.watch
    return watch.alive or (watch.reason, watch.stalled_seconds)


def test_the_threshold_is_exact(rooms):
    """A heartbeat is fresh up to the threshold, and stale right after it."""
    rooms.memory.take()
    rooms.look(30)
    assert rooms.watch.alive
    rooms.look(0.001)
    assert not rooms.watch.alive
    assert rooms.watch.stalled_seconds == pytest.approx(30.001)


def test_nobody_is_not_dead(rooms):
    """Before the first slot, and after the last one was given back, there is nobody who could stall."""
    rooms.look()
    assert rooms.watch.alive
    slot = rooms.memory.take()
    rooms.look(31)
    assert not rooms.watch.alive
    slot.give_back()
    rooms.look()
    assert (rooms.watch.alive, rooms.watch.workers) == (True, [])


@pytest.mark.parametrize(
    ("any_stalled", "ages", "expected"),
    [
        (False, (40, 1), True),
        (False, (40, 50), ("event_loop_stalled", 40)),
        (True, (40, 1), ("event_loop_stalled", 40)),
        (True, (40, 50), ("event_loop_stalled", 50)),
        (True, (1, 1), True),
    ],
)
def test_policies(rooms, any_stalled, ages, expected):
    """`all` needs everybody to stall, `any` one; the time told is for how long that has been so."""
    rooms.watch_as(any_stalled=any_stalled)
    begin = rooms.now
    for age in ages:
        rooms.now = begin - age
        rooms.memory.take()
    rooms.now = begin
    rooms.look()
    assert verdict(rooms) == expected


def test_the_reason_is_a_worker_only_if_no_event_loop_stalls(rooms):
    """Threads alone make `worker_stalled`."""
    rooms.memory.take(THREAD)
    rooms.memory.take(THREAD)
    rooms.look(31)
    assert rooms.watch.reason == "worker_stalled"
    rooms.memory.take()
    rooms.look(31)
    assert rooms.watch.reason == "event_loop_stalled"


def test_a_grant_is_for_what_was_before_it(rooms):
    """After it a full threshold passes before anybody is dead; the log neither repeats nor takes back itself."""
    rooms.memory.take()
    rooms.look(31)
    rooms.pause(100)
    rooms.look(30)
    assert rooms.watch.alive
    rooms.look(1)
    assert verdict(rooms) == ("event_loop_stalled", 31)
    assert len(rooms.log.lines) == 1


def test_grants_without_end_hide_no_stall(rooms):
    """A guard that is starved again and again tells a stall once it has run for two thresholds in all."""
    rooms.memory.take()
    rooms.look()
    for _ in range(6):
        rooms.look(10)
        assert rooms.watch.alive
        rooms.pause(2)
    rooms.look(0.001)
    assert not rooms.watch.alive


def test_grants_without_end_hold_nothing_against_who_beats(rooms):
    """A heartbeat that is seen, however rarely, begins anew."""
    slot = rooms.memory.take()
    for _ in range(20):
        rooms.look(10)
        rooms.pause(100)
        slot.beat()
        rooms.look(5)
        assert rooms.watch.alive


def test_a_heartbeat_from_the_future_is_fresh(rooms):
    """One that is written after the time was read counts as one."""
    rooms.now += 10
    rooms.memory.take()
    rooms.look(-10)
    assert rooms.watch.alive


def test_a_slot_that_changes_hands_is_another_worker(rooms):
    """What was known of the one who had it is forgotten."""
    slot = rooms.memory.take()
    slot.publish({"ready": (200, b"old")})
    rooms.look()
    [before] = rooms.watch.workers
    assert before.reports == {"ready": (200, b"old")}
    slot.give_back()
    rooms.look()
    rooms.memory.take()
    rooms.look()
    [after] = rooms.watch.workers
    assert after is not before
    assert after.reports == {}
    assert before.process.descriptor == -1


def test_reports_are_kept_while_new_ones_are_written(rooms):
    """Half a publication is not read; the last whole one is."""
    slot = rooms.memory.take()
    slot.publish({"ready": (200, b"whole")})
    rooms.look()
    [worker] = rooms.watch.workers
    assert worker.reports == {"ready": (200, b"whole")}
    rooms.memory._words[slot._at + 5] += 1
    rooms.look()
    assert worker.reports == {"ready": (200, b"whole")}
    slot.publish({"ready": (503, b"next")})
    assert worker.reports == {"ready": (503, b"next")}


def test_a_stall_is_told_once_and_its_end_once(rooms):
    """With the process and how long it took."""
    slot = rooms.memory.take()
    for _ in range(3):
        rooms.look(31)
    slot.beat()
    for _ in range(3):
        rooms.look(1)
    assert [line.partition(" ")[0] for line in rooms.log.lines] == ["WARNING", "INFO"]
    assert rooms.log.lines[0].startswith(f"WARNING process {slot.pid} stalls: no heartbeat for 31.0 s")
    assert rooms.log.lines[1] == f"INFO process {slot.pid} is alive again after 93.0 s"


def test_a_worker_that_takes_no_work_is_stalled_though_it_beats(rooms):
    """It says so itself, and since when; live follows at once, and takes it back when it does."""
    slot = rooms.memory.take()
    slot.starve(int(rooms.now) - 300)
    rooms.look()
    assert verdict(rooms) == ("worker_stalled", 300)
    rooms.now += 20
    slot.beat()
    rooms.look()
    assert verdict(rooms) == ("worker_stalled", 320)
    slot.starve(0)
    rooms.look()
    assert verdict(rooms)


def test_flags_stay_as_they_are_beside_it(rooms):
    """A thread's heartbeat stays one, and draining stays said."""
    slot = rooms.memory.take(THREAD)
    slot.flag(DRAINING)
    slot.starve(2**31)
    assert slot.flags & (THREAD | DRAINING) == THREAD | DRAINING
    assert slot.starved_since == 2**31
    slot.starve(0)
    assert (slot.flags, slot.starved_since) == (THREAD | DRAINING, 0)


def test_one_of_two_workers_that_takes_no_work_is_degraded(rooms):
    """As with a loop that stalls, `all` needs everybody."""
    rooms.memory.take()
    rooms.memory.take().starve(int(rooms.now) - 300)
    rooms.look()
    assert verdict(rooms)
    rooms.watch_as(any_stalled=True)
    rooms.look()
    assert verdict(rooms) == ("worker_stalled", 300)
