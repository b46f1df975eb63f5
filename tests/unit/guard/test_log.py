"""The guard's log: it never waits, and shares what it writes to with the application."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading

from tasker_health.guard import log as log_module
from tasker_health.guard.log import Log

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING tasker_health\.guard: (.*)\n")


class Ready:
    """Stands in for `select`: says that there is room."""

    POLLOUT = select.POLLOUT

    def poll(self, timeout=None):
        """Return a poll object, or what it found."""
        return self if timeout is None else True

    def register(self, descriptor, events):
        """Take note."""


def test_lines_have_the_form_of_the_applications(tmp_path):
    """Time, level, logger, message; in a file they follow what others write there."""
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        file.write(b"before\n")
        Log(file.fileno()).warning("caf\xe9 \udcff")
        file.write(b"after\n")
    before, line, after = path.read_bytes().splitlines(keepends=True)
    assert (before, after) == (b"before\n", b"after\n")
    assert LINE.fullmatch(line)[1] == "caf\xe9 ?".encode()


def test_a_full_pipe_is_not_waited_for():
    """A line that nobody takes is dropped; the pipe itself goes on blocking for the application."""
    reader, writer = os.pipe()
    log = Log(writer)
    os.set_blocking(writer, False)
    written = 0
    try:
        while True:
            written += os.write(writer, b"x" * 1000)
    except BlockingIOError:
        os.set_blocking(writer, True)
    log.warning("dropped")
    assert os.get_blocking(writer)
    assert set(os.read(reader, 1 << 20)) == set(b"x")
    log.warning("y" * 10000)
    rest = os.read(reader, 1 << 20)
    assert rest.endswith(b"y\n")
    assert len(rest) <= 4097 + written
    log.info("z")
    os.close(reader)
    log.info("nobody reads")
    os.close(writer)


def test_a_closed_descriptor_is_no_error():
    """An application without standard error has a guard all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    Log(writer).warning("lost")


def test_a_pipe_that_fills_up_meanwhile_is_not_waited_for(monkeypatch):
    """Somebody else may take the room between the look and the write."""
    reader, writer = os.pipe()
    log = Log(writer)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 1000)
    os.set_blocking(writer, True)
    monkeypatch.setattr(log_module, "select", Ready())
    says = threading.Thread(target=log.warning, args=("dropped",))
    says.start()
    says.join(10)
    waits = says.is_alive()
    os.read(reader, 1 << 20)
    says.join()
    os.close(reader)
    os.close(writer)
    assert not waits
