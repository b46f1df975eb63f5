"""The line that HAProxy's agent-check is told."""

from __future__ import annotations

import pytest

from tasker_health.guard.agent import Agent
from tasker_health.guard.load import Load
from tasker_health.guard.memory import DRAINING
from tasker_health.guard.watch import SECOND

READY = {"ready": (200, b'{"ready":true,"checks":{}}')}
UNREADY = {"ready": (503, b'{"ready":false,"failed_checks":["database","cache"],"checks":{}}')}


@pytest.fixture
def told(rooms):
    """What is told after some seconds."""
    agent = Agent(rooms.watch, rooms.reports, Load(rooms.watch, 0.25, 0.5))

    def told(seconds=0.0):
        rooms.look(seconds)
        agent.look(int(rooms.now * SECOND))
        assert agent.line.endswith(b"\n")
        return agent.line[:-1].decode()

    return told


def test_nobody_is_down(rooms, told):
    """Before the application has published anything, and at once."""
    assert told() == "down #application"
    rooms.memory.take()
    assert told() == "down #application"


def test_ready_is_up_with_its_weight(rooms, told):
    """In percent of what the server's own weight is; HAProxy never hears a word of its administrator's."""
    slot = rooms.memory.take()
    slot.publish(READY)
    slot.beat()
    assert told() == "up 100%"
    rooms.now += 10
    slot.publish(READY)
    slot.beat(SECOND)
    assert told() == "up 13%"


def test_unready_is_the_least_weight_and_down_when_it_lasts(rooms, told):
    """HAProxy believes the first `down`: three seconds spare all servers at a slip of what they share."""
    slot = rooms.memory.take()
    slot.publish(READY)
    assert told() == "up 100%"
    slot.publish(UNREADY)
    assert [told(), told(2.999)] == ["up 10%", "up 10%"]
    assert told(0.001) == "down #database,cache"
    slot.publish(READY)
    slot.beat()
    assert told().startswith("up ")
    slot.publish(UNREADY)
    assert told() == "up 10%"


def test_a_stalled_application_is_down_at_once(rooms, told):
    """The guard has waited before it says so itself."""
    rooms.memory.take().publish(READY)
    told()
    assert told(5.001) == "down #application"


def test_draining_is_no_weight_and_not_down(rooms, told):
    """Whatever is published: nothing new comes, what is there is served; a new process is up again."""
    slot = rooms.memory.take()
    slot.publish(UNREADY)
    slot.flag(DRAINING)
    assert [told(), told(3600)] == ["up 0%", "up 0%"]
    rooms.memory.take().publish(READY)
    assert told() == "up 100%"


def test_a_long_list_is_cut(rooms, told):
    """A line stays one that HAProxy reads whole."""
    names = b",".join(b'"check_%d"' % number for number in range(1000))
    rooms.memory.take().publish({"ready": (503, b'{"ready":false,"failed_checks":[%b],"checks":{}}' % names)})
    told()
    assert len(told(3)) == len("down #") + 128
