"""The guard's process and the workers it stands in for, as real processes that a test stops and kills."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import tasker_health
from server import wait_until
from tasker_health.guard.memory import DUMPS_STACKS, Memory

SOURCE = str(Path(tasker_health.__file__).parents[1])
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tasker_health.guard.process import main; main()"
STALL_SECONDS = 1.5
PREFIX = "/tasker/health"

READY = {"ready": True, "checks": {"database": {"status": "ok"}}, "timestamp": "2025-06-18T15:30:00Z"}
STARTED = {"started": True, "timestamp": "2025-06-18T15:30:00Z"}

_WORKER = """
import faulthandler, json, os, signal, sys, threading
from tasker_health.guard.memory import DUMPS_STACKS, Memory

memory, flags, handles = Memory(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3] == "True"
slot = memory.take(flags)
if handles:
    faulthandler.register(signal.SIGRTMIN + 3, all_threads=True, chain=False)
beats, ends = threading.Event(), threading.Event()
beats.set()

def beat():
    while not ends.wait(0.02):
        if beats.is_set():
            slot.beat()

threading.Thread(target=beat, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    command, value = json.loads(line)
    if command == "publish":
        encoded = {name: json.dumps(body, separators=(",", ":")).encode() for name, (_, body) in value.items()}
        slot.publish({name: (value[name][0], body) for name, body in encoded.items()})
    elif command == "flag":
        slot.flag(value)
    elif command == "beat":
        beats.set() if value else beats.clear()
    elif command == "give_back":
        slot.give_back()
    elif command == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "import sys; print('done', flush=True); sys.stdin.read()"])
    print("done", flush=True)
"""


class Worker:
    """A process of an application, with a slot and a heartbeat every 20 ms.

    Args:
        memory: Of the guard.
        flags: Of its slot.
        handles: Whether it has the handler that logs stacks; by default, if its slot says so.
    """

    def __init__(self, memory, flags=0, handles=None):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        handles = bool(flags & DUMPS_STACKS) if handles is None else handles
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(memory.descriptor), str(flags), str(handles)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            pass_fds=[memory.descriptor],
            text=True,
        )
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n", self.log
        self.slot = next(slot for slot in memory.taken() if slot.pid == self.pid)

    def tell(self, command, value=None):
        """Have it do *command*, and wait until it has."""
        self.process.stdin.write(json.dumps([command, value]) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", self.log

    def publish(self, code=200, body=READY, **others):
        """Publish readiness, of all and of the check `database`, and that it has started."""
        reports = {"ready": (code, body), "ready/database": (code, body), "startup": (200, STARTED), **others}
        self.tell("publish", reports)

    @property
    def log(self):
        """What it has written to standard error."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def signal(self, number):
        """Send it signal *number*."""
        self.process.send_signal(number)

    def end(self):
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()
        self._log.close()


class Guarded:
    """A guard, its memory and its workers; this test is the owner unless it names another.

    Args:
        options: Of the guard, in place of those that most tests want.
        stderr: Where the guard writes; a file by default.
        host: Where it listens.
        start: Python code that it is started with.
    """

    def __init__(self, *, host="127.0.0.1", stderr=None, start=START, memory=None, **options):
        self.memory = memory or Memory.create()
        self.workers = []
        self._host = host
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
        self.address = listener.getsockname()[:2]
        sockets = [options[name] for name in ("lifeline", "agent") if name in options]
        passed = [self.memory.descriptor, listener.fileno(), *sockets]
        words = {
            "memory": self.memory.descriptor,
            "listen": listener.fileno(),
            "owner": os.getpid(),
            "prefix": "/tasker",
            "service": "tasker",
            "stall_seconds": STALL_SECONDS,
            "policy": "all",
            "report_max_age_seconds": 60,
            **options,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-s", "-P", "-c", start, SOURCE]
            + [f"{name}={value}" for name, value in words.items()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log if stderr is None else stderr,
            pass_fds=passed,
        )
        listener.close()
        self.pid = self.process.pid

    def worker(self, flags=0, handles=None):
        """Start a worker."""
        self.workers.append(Worker(self.memory, flags, handles))
        return self.workers[-1]

    @property
    def log(self):
        """What the guard has written to standard error."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def connect(self, timeout=60):
        """Return a new connection to it."""
        return socket.create_connection(self.address, timeout)

    def exchange(self, data, half_close=False):
        """Return all that a connection brings for *data*, to its end."""
        with self.connect() as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def ask(self, path, method="GET"):
        """Return code and document of *path* below the prefix, over a connection of its own."""
        answer = self.exchange(f"{method} {PREFIX}/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        code, _, body = split(answer)
        return code, json.loads(body) if body else None

    def wait_for(self, path, code):
        """Return the document of *path* as soon as it is answered with *code*."""
        return wait_until(lambda: (answer := self.ask(path))[0] == code and answer[1], f"{path} answers {code}")

    def signal(self, number):
        """Send the guard signal *number*."""
        self.process.send_signal(number)

    @property
    def is_running(self):
        """Whether the guard has not ended."""
        return self.process.poll() is None

    def descriptors(self):
        """Return the descriptors that the guard has open."""
        return sorted(each.name for each in Path(f"/proc/{self.pid}/fd").iterdir())

    def is_stopped(self, pid=None):
        """Whether the guard, or process *pid*, stands still."""
        return Path(f"/proc/{pid or self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def port_is_free(self):
        """Whether somebody else may listen where the guard did."""
        with contextlib.suppress(OSError), socket.create_server(self.address):
            return True
        return False

    def end(self):
        """End all processes."""
        self.process.kill()
        self.process.communicate()
        for worker in self.workers:
            worker.end()
        self._log.close()


def read_all(connection):
    """Return what *connection* brings until its end, be it a reset."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def split(answer):
    """Return code, headers and body of the one *answer*."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    return int(line.split(" ")[1]), dict(each.split(": ", 1) for each in lines), body


@pytest.fixture
def start_guard():
    """A function that starts a guard; all are ended with the test."""
    with contextlib.ExitStack() as started:

        def start(**options):
            guard = Guarded(**options)
            started.callback(guard.end)
            return guard

        yield start


@pytest.fixture(scope="module")
def guard():
    """A guard that the tests of a module share: ask it, leave it running."""
    shared = Guarded()
    yield shared
    shared.end()
