"""When a worker is wedged though its process lives."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from tasker_health.workers import RunningTask
from tasker_health.workers.attachment import Work
from tasker_health.workers.stall import StallWatch

IDLE = Work(idle_seconds=1000)


def busy(*, halted=False):
    """Return the work of somebody who works on one task."""
    return Work(running=(RunningTask("1", "ship", None, 600, halted),), running_count=1)


class Watched:
    """A watch of ten seconds, looked at each second."""

    def __init__(self):
        self.clock = FakeClock()
        self.watch = StallWatch(10, self.clock.monotonic)
        self.look(0)

    def look(self, waiting, work=IDLE, times=1):
        """Return what it says at the last of so many looks."""
        for _ in range(times):
            said = self.watch.look(work, waiting)
            self.clock.move(1)
        return said


def test_who_takes_nothing_though_work_waits_is_wedged():
    """After ten seconds in which at each look some waited; it says for how long."""
    watched = Watched()
    assert watched.look(3, times=10) == 0
    assert watched.look(3) == 10
    assert watched.look(1) == 11


@pytest.mark.parametrize("waiting", [0, None])
def test_one_look_at_which_nothing_waited_begins_it_anew(waiting):
    """Neither an empty queue nor a broker that is away is held against anybody, not even in part."""
    watched = Watched()
    watched.look(3, times=9)
    assert watched.look(waiting) == 0
    assert watched.look(3, times=10) == 0
    assert watched.look(3) == 10


def test_a_long_task_is_no_stall():
    """Whoever works on something takes nothing else, however long it lasts and whatever waits."""
    assert Watched().look(1000, busy(), times=700) == 0


def test_a_task_whose_process_is_stopped_is_no_work():
    """A worker whose only child is stopped takes nothing: it is wedged, though it seems to work."""
    watched = Watched()
    assert watched.look(3, busy(halted=True), times=10) == 0
    assert watched.look(3, busy(halted=True)) == 10


def test_a_task_that_came_and_went_between_two_looks_was_taken():
    """What has been done or has failed meanwhile was taken."""
    watched = Watched()
    for done in range(50):
        assert watched.look(3, Work(done=done, failed=1)) == 0


def test_more_tasks_than_are_named_are_work():
    """A beat names some; who has more than those works."""
    many = Work(running=(RunningTask("1", "ship", None, 600, halted=True),), running_count=2)
    assert Watched().look(3, many, times=50) == 0
