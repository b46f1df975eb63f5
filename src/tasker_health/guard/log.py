"""What the guard says on standard error, in the form of the application's log; it never waits to say it."""

from __future__ import annotations

import os
import select
import stat
import time

_LONGEST = 4000  # below PIPE_BUF: such a line is written whole or not at all


class Log:
    """Writes lines to *descriptor*, and drops those that nobody takes.

    The application's log may be a pipe whose reader hangs. Waiting for it would make the guard hang as well, and
    making the descriptor itself non-blocking would do the same to the application, which shares it.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = _reopened(descriptor)

    def warning(self, message: str) -> None:
        """Say that something is wrong."""
        self._write("WARNING", message)

    def info(self, message: str) -> None:
        """Say that something has changed."""
        self._write("INFO", message)

    def _write(self, level: str, message: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"{now} {level} tasker_health.guard: {message}".encode("utf-8", "replace")[:_LONGEST] + b"\n"
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        try:
            if ready.poll(0):
                os.write(self._descriptor, line)
        except OSError:
            return


def _reopened(descriptor: int) -> int:
    """Return a descriptor of the same pipe or terminal that does not block, or *descriptor* where there can be none."""
    try:
        # A regular file has no reader that could hang, and must keep the one position that is shared.
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return descriptor
