"""The guard's log: it never waits, and shares what it writes to with the application."""

from __future__ import annotations

import os
import re

from tasker_health.guard.log import Log

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING tasker_health\.guard: (.*)\n")


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
