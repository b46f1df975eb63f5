"""The processes that the guard follows: whether each is still there, and still the same program."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports `enum`: half a megabyte
import os
import select

DUMP_STACKS = _signal.SIGRTMIN + 3
"""Signal on which the application logs where its threads stand. Not SIGUSR1 or SIGUSR2, which gunicorn uses."""

UNKNOWN = (0, 0)


class Followed:
    """The process *pid*, from now on.

    Followed by a pidfd, which is readable as soon as it has ended, and looked at from time to time: a process that
    replaces its program (exec) lives on under its id and its start time, but has forgotten all that it promised.

    Args:
        pid: Which.
        started: Its start time as the kernel counts it; 0: whichever it is now.
    """

    def __init__(self, pid: int, started: int = 0) -> None:
        self.pid = pid
        self.descriptor: int = _pidfd(pid)
        self._seen = _stat(pid)
        self.ended: bool = self._has_ended() or (started != 0 and self._seen != UNKNOWN and started != self._seen[0])

    def look(self) -> None:
        """Note whether it has ended, or runs another program by now."""
        self.ended = self.ended or self._has_ended() or _stat(self.pid) not in {self._seen, UNKNOWN}

    def _has_ended(self) -> bool:
        if self.descriptor < 0:  # it had ended already, or this kernel or sandbox knows no pidfd
            return _stat(self.pid) == UNKNOWN
        ready = select.poll()
        ready.register(self.descriptor, select.POLLIN)
        return bool(ready.poll(0))

    def dump_stacks(self) -> bool:
        """Have it log where its threads stand; return whether it was asked."""
        # Without its handler the signal ends a process, so the kernel is asked whether it is there.
        if self.descriptor < 0 or self.ended or not _catches(self.pid, DUMP_STACKS):
            return False
        try:
            _signal.pidfd_send_signal(self.descriptor, DUMP_STACKS)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Follow it no longer."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Following:
    """All processes that are followed; *poller* tells when the descriptor of one is readable."""

    def __init__(self, poller: select.epoll) -> None:
        self._poller = poller
        self._all: set[Followed] = set()
        self._by_descriptor: dict[int, Followed] = {}

    def follow(self, pid: int, started: int = 0) -> Followed:
        """Return process *pid*, followed from now on."""
        process = Followed(pid, started)
        self._all.add(process)
        if process.descriptor >= 0:
            self._by_descriptor[process.descriptor] = process
            self._poller.register(process.descriptor, select.EPOLLIN)
        return self._kept(process)

    def leave(self, process: Followed) -> None:
        """Follow *process* no longer."""
        self._all.discard(process)
        self._by_descriptor.pop(process.descriptor, None)
        process.close()

    def look_behind(self, descriptor: int) -> bool:
        """Look at the process behind *descriptor*; return whether there is one."""
        process = self._by_descriptor.get(descriptor)
        if process is None:
            return False
        process.look()
        self._kept(process)
        return True

    def look_at_all(self) -> None:
        """Look at each: what no descriptor tells is seen so."""
        for process in list(self._all):
            process.look()
            self._kept(process)

    def _kept(self, process: Followed) -> Followed:
        # Once it has ended, its descriptor is readable for ever.
        if process.ended:
            self.leave(process)
        return process


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _stat(pid: int) -> tuple[int, int]:
    """Return when process *pid* was started and where its stack begins, which changes with its program (proc(5)).

    `UNKNOWN`: there is no such process, or it cannot be known.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:  # noqa: PTH123 -- pathlib is half a megabyte
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return UNKNOWN
    return UNKNOWN if fields[0] in {b"Z", b"X"} else (int(fields[19]), int(fields[25]))


def _catches(pid: int, number: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as status:  # noqa: PTH123 -- pathlib is half a megabyte
            caught = status.read().partition(b"\nSigCgt:")[2].split(maxsplit=1)[0]
    except OSError:
        return False
    return bool(int(caught, 16) >> (number - 1) & 1)
