"""A guard's rooms in one process: memory whose slots this process has, and time that a test sets."""

from __future__ import annotations

import select

import pytest

from tasker_health.guard import memory as memory_module
from tasker_health.guard.answers import Answers
from tasker_health.guard.following import Following
from tasker_health.guard.memory import Memory
from tasker_health.guard.reports import Reports
from tasker_health.guard.watch import SECOND, Watch


class Said:
    """A log that remembers."""

    def __init__(self):
        self.lines = []

    def warning(self, message):
        """Remember a warning."""
        self.lines.append(f"WARNING {message}")

    def info(self, message):
        """Remember a change."""
        self.lines.append(f"INFO {message}")


class Rooms:
    """Watch, reports and answers over one memory, at a time that stands still.

    Attributes:
        now: In seconds.
    """

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.memory = Memory.create()
        self.poller = select.epoll()
        self.log = Said()
        self.following = Following(self.poller)
        monkeypatch.setattr(memory_module.time, "monotonic_ns", lambda: int(self.now * SECOND))
        self.watch_as()

    def watch_as(self, *, any_stalled=False, stall_seconds=30):
        """Watch anew, with other settings."""
        self.watch = Watch(self.memory, self.following, self.log, stall_seconds=stall_seconds, any_stalled=any_stalled)
        self.reports = Reports(self.watch, "tasker", max_age_seconds=5)
        self.answers = Answers(self.reports, "/tasker")

    def look(self, seconds=0.0):
        """Let *seconds* pass and look."""
        self.now += seconds
        self.watch.look(int(self.now * SECOND))
        self.answers.renew(int(self.now * SECOND))

    def pause(self, seconds):
        """Let *seconds* pass in which the guard does not run, and notice it."""
        self.now += seconds
        self.watch.grant(int(self.now * SECOND), seconds * SECOND)


@pytest.fixture
def rooms(monkeypatch):
    """The rooms of a guard."""
    built = Rooms(monkeypatch)
    yield built
    built.poller.close()
    built.memory.close()
