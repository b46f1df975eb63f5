"""What the guard holds: few modules, little memory, and nothing that grows with what it is asked."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from guarded import PREFIX, START, start_guard
from server import wait_until

__all__ = ["start_guard"]

OURS = {
    "answers",
    "connections",
    "exchange",
    "following",
    "http",
    "lifeline",
    "log",
    "memory",
    "packing",
    "process",
    "reports",
    "watch",
}
AGENTS = {"agent", "agent_port", "load"}
HEAVY = {
    "asyncio",
    "collections",
    "enum",
    "json",
    "logging",
    "pathlib",
    "re",
    "signal",
    "socket",
    "threading",
    "typing",
}


def private_kib(pid):
    """Return how much memory process *pid* shares with nobody."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"Private_\w+: +(\d+) kB", rollup))


@pytest.mark.parametrize("agent", [False, True])
def test_it_imports_the_standard_library_and_itself(start_guard, agent):
    """Nothing else, and nothing of it that is large, whatever it was asked; of an agent nothing where there is none."""
    helper = start_guard()
    owner, other = helper.worker(), helper.worker()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {"agent": listener.fileno(), "heartbeat_seconds": 0.25, "lag_warning_seconds": 0.5} if agent else {}
        start = f"{START}; print(sorted(sys.modules))"
        guard = start_guard(memory=helper.memory, owner=owner.pid, start=start, **options)
    owner.publish()
    other.publish()
    other.tell("beat", False)
    wait_until(lambda: "stalls" in guard.log, "the guard has noticed it")
    assert "workers" in guard.ask("ready")[1]["checks"]
    for path in ("live", "startup", "ready/database", "nothing"):
        guard.ask(path)
    guard.exchange(b"GET /%20 HTTP/1.1\n\n")
    owner.end()
    other.end()
    modules = set(ast.literal_eval(guard.process.communicate(timeout=60)[0].decode()))
    ours = {name for name in modules if name.startswith("tasker_health")}
    assert ours == {
        *("tasker_health", "tasker_health.guard"),
        *(f"tasker_health.guard.{name}" for name in OURS | (AGENTS if agent else set())),
    }
    assert {name.partition(".")[0] for name in modules - ours} <= sys.stdlib_module_names | {"__main__"}
    assert not modules & HEAVY


def test_ten_thousand_probes_leave_nothing(start_guard):
    """Descriptors and memory are as before, over fresh and kept connections, with good and bad requests."""
    guard = start_guard()
    guard.worker().publish()

    def ask_thousands():
        ask = f"GET {PREFIX}/live HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        for number in range(1000):
            path = ("live", "ready", "startup", "ready/database", f"nothing-{number}")[number % 5]
            guard.ask(path)
            if number % 10 == 0:
                guard.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nA: %d\r\n B\r\n\r\n" % number)
        with guard.connect() as connection:
            for number in range(4000):
                connection.sendall(ask.replace(b"Host: a", b"Host: %d" % number))
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: guard.descriptors() == before, "connections are closed")

    assert guard.ask("live")[0] == 200
    before = guard.descriptors()
    ask_thousands()
    memory = private_kib(guard.pid)
    ask_thousands()
    assert private_kib(guard.pid) <= memory + 64
    assert len(list(Path(f"/proc/{guard.pid}/task").iterdir())) == 1
    assert guard.log == ""


def test_it_is_small(start_guard):
    """Its private memory is at most 3 MiB above that of a bare interpreter."""
    guard = start_guard()
    guard.worker().publish()
    for path in ("live", "ready", "startup", "nothing"):
        guard.ask(path)
    bare = subprocess.Popen(
        [sys.executable, "-S", "-E", "-s", "-P", "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        bare.stdout.readline()
        assert private_kib(guard.pid) - private_kib(bare.pid) <= 3 * 1024
    finally:
        bare.communicate()
