"""What the service manager's variables mean, and a message that never waits."""

from __future__ import annotations

import os

import pytest

from service_manager import ServiceManager as Listener
from tasker_health.systemd import ServiceManager

STRANGER = "1"


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    """A socket of each kind."""
    made = Listener(tmp_path / "notify" if request.param == "path" else f"@tasker-health-test-{os.getpid()}")
    yield made
    made.close()


def test_a_message_arrives_from_this_process(listener):
    """In one datagram, whose sender the kernel names."""
    manager = ServiceManager.taken_from(listener.variables())
    assert manager.tell(READY="1", STATUS="ready")
    [(_, pid, message)] = listener.read()
    assert (pid, message) == (os.getpid(), {"READY": "1", "STATUS": "ready"})


def test_a_value_is_one_line(listener):
    """A name of a check with a line break in it cannot say more than a status."""
    assert ServiceManager.taken_from(listener.variables()).tell(STATUS="starting: a\nMAINPID=1\n" + "b" * 9000)
    [(_, _, message)] = listener.read()
    assert set(message) == {"STATUS"}
    assert message["STATUS"].startswith("starting: a MAINPID=1 b")
    assert len(message["STATUS"]) <= 200


def test_a_full_socket_costs_the_message_alone(listener):
    """Nothing waits, nothing is raised; the next one arrives when there is room."""
    manager = ServiceManager.taken_from(listener.variables())
    listener.fill()
    assert not manager.tell(READY="1")
    listener.read()
    assert manager.tell(READY="1")


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "/a\0b"])
def test_a_socket_that_is_not_there_costs_the_message_alone(address):
    """The manager may be gone."""
    assert not ServiceManager.taken_from({"NOTIFY_SOCKET": address}).tell(READY="1")


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nobody_is_told_where_nobody_is_named(variables):
    """No socket, or a kind that is not known here."""
    assert ServiceManager.taken_from(variables) is None


def test_its_variables_are_taken_out_of_the_environment():
    """No child of this process speaks for it; what does not concern this is left."""
    environ = {
        "NOTIFY_SOCKET": "/a",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "2",
        "SYSTEMD_EXEC_PID": "2",
        "PATH": "/bin",
    }
    ServiceManager.taken_from(environ)
    assert environ == {"SYSTEMD_EXEC_PID": "2", "PATH": "/bin"}


@pytest.mark.parametrize(
    ("variables", "is_main", "seconds"),
    [
        ({}, True, None),
        ({"WATCHDOG_USEC": "40000000"}, True, 40),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": str(os.getpid())}, True, 40),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": str(os.getppid())}, False, 40),
        ({"WATCHDOG_USEC": "40000000", "WATCHDOG_PID": STRANGER}, False, None),
        ({"WATCHDOG_USEC": "0"}, True, None),
        ({"WATCHDOG_USEC": "-5"}, True, None),
        ({"WATCHDOG_USEC": "soon"}, True, None),
        ({"WATCHDOG_USEC": "9" * 400}, True, None),
        ({"WATCHDOG_PID": "9" * 5000, "WATCHDOG_USEC": "40000000"}, True, 40),
        ({"SYSTEMD_EXEC_PID": str(os.getpid())}, True, None),
        ({"SYSTEMD_EXEC_PID": STRANGER}, False, None),
    ],
)
def test_who_is_the_main_process_and_who_feeds_the_watchdog(variables, is_main, seconds):
    """The process that is named, or, of a supervisor that is named, its workers; nobody further down."""
    manager = ServiceManager.taken_from({"NOTIFY_SOCKET": "/a", **variables})
    assert (manager.is_main, manager.watchdog_seconds) == (is_main, seconds)
