"""The application's side of the guard: starts it, watches it, joins one that is there already."""

from __future__ import annotations

import array
import asyncio
import contextlib
import faulthandler
import hashlib
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tasker_health.errors import ConfigurationError
from tasker_health.guard.lifeline import GREETING
from tasker_health.guard.memory import DUMPS_STACKS, THREAD, Memory, Slot, is_running
from tasker_health.listening import listen
from tasker_health.settings import Settings

log = logging.getLogger(__name__)

STACKS_SIGNAL = signal.SIGRTMIN + 3
"""Has the application write where its threads stand. Not SIGUSR1 or SIGUSR2, which gunicorn uses."""

_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tasker_health.guard.process import main; main()"
_INHERITED = ("LD_LIBRARY_PATH", "LD_PRELOAD")
_RETRY_SECONDS = 0.1
_JOIN_SECONDS = 3.0
_DESCRIPTOR_BYTES = 4


class Guard:
    """One guard for all processes of a pod.

    The first process that starts opens the port and spawns the guard. The others find the name of its lifeline taken
    (an abstract socket: one holder at a time, gone with it) and are handed its memory there. Whoever notices that the
    guard has died begins anew, and so starts it again.

    Args:
        settings: Where the guard listens and when a heartbeat is too old.
        alone: This process is a whole application: it shares its guard with nobody. Otherwise its siblings, the
            children of the same supervisor, are workers of the same one.
        thread: The heartbeat is a thread's, beside an application without an event loop.
    """

    def __init__(self, settings: Settings, *, alone: bool, thread: bool = False) -> None:
        self._settings = settings
        self._host = settings.guard.host or settings.server.host
        family = os.getpid() if alone or not settings.guard.port else os.getppid()
        # In few bytes, however long a service's name is: 107 are all that such a socket's may have (unix(7)).
        of = hashlib.sha256(f"{settings.health.service_name}\n{self._host}".encode("utf-8", "replace")).hexdigest()[:16]
        self._name = f"\0tasker-health-guard-{os.getuid()}-{family}-{settings.guard.port}-{of}"
        self._flags = THREAD if thread else 0
        self._memory: Memory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tie: socket.socket | None = None
        self._pidfd: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.slot: Slot | None = None
        self.renewed: Callable[[], None] = lambda: None
        self.url: str = ""
        self.restarts: int = 0

    def open(self) -> None:
        """Start the guard or join the one that is there, and take a slot in its memory. May be called twice.

        Raises:
            ConfigurationError: Its port cannot be had.
        """
        ends_at = time.monotonic() + _JOIN_SECONDS
        while self._memory is None and not self._begin():
            if time.monotonic() > ends_at:
                raise ConfigurationError(
                    f"guard.port = {self._settings.guard.port}: a process that hands no memory on holds the guard's"
                    " place; end it, or choose another port with TASKER_GUARD__PORT"
                )
            time.sleep(0.02)

    def attach(self) -> None:
        """Watch the guard from the running event loop, and start it again when it dies."""
        self._loop = asyncio.get_running_loop()
        descriptor = self._watched()
        if descriptor is not None:
            self._loop.add_reader(descriptor, self._guard_died)

    def close(self) -> None:
        """Give the slot back; end the guard if this process spawned it and nobody else needs it."""
        if self._retry is not None:
            self._retry.cancel()
        needed = False
        if self._memory is not None and self.slot is not None:
            self.slot.give_back()
            needed = any(is_running(slot.pid, slot.started) for slot in self._memory.taken())
            if needed and self._process is not None:
                self._memory.leave()
        self._let_go()
        process, self._process = self._process, None
        if process is not None and needed:  # it ends with the others, maybe of this very process, and is then reaped
            threading.Thread(target=process.wait, name="tasker-health-reaper", daemon=True).start()
        elif process is not None:
            process.kill()
            process.wait()
        self._loop = None

    def others_beat(self) -> bool:
        """Return whether no worker that shares this guard stalls."""
        since = time.monotonic_ns() - int(self._settings.health.liveness_stall_seconds * 1e9)
        taken = [] if self._memory is None else self._memory.taken()
        return all(
            slot.beat_ns >= since or slot.pid == os.getpid() or not is_running(slot.pid, slot.started) for slot in taken
        )

    def _begin(self) -> bool:
        """Spawn the guard where none is, or join it; return whether one of the two was done."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lifeline:
            try:
                lifeline.bind(self._name)
            except OSError:
                return self._join()
            lifeline.listen(64)
            self._spawn(lifeline)
        return True

    def _spawn(self, lifeline: socket.socket) -> None:
        agent_port = self._settings.guard.agent_port
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(listen(self._host, self._settings.guard.port, "guard"))
            agent = None
            if agent_port is not None:
                agent = opened.enter_context(listen(self._host, agent_port, "guard", "agent_port"))
            host, port = listener.getsockname()[:2]
            self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}{self._settings.server.prefix}/health"
            memory = Memory.create()
            self._use(memory)
            handed = {"memory": memory.descriptor, "listen": listener.fileno(), "lifeline": lifeline.fileno()}
            if agent is not None:
                handed["agent"] = agent.fileno()
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own words
                [sys.executable, "-S", "-E", "-s", "-P", "-c", _START, *self._words(handed)],
                pass_fds=list(handed.values()),
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )
        self._pidfd = os.pidfd_open(self._process.pid)

    def _words(self, handed: dict[str, int]) -> list[str]:
        health = self._settings.health
        words = {
            **handed,
            "owner": os.getpid(),
            "prefix": self._settings.server.prefix,
            "service": health.service_name,
            "stall_seconds": health.liveness_stall_seconds,
            "policy": health.liveness_policy,
            "report_max_age_seconds": report_max_age_seconds(self._settings),
            "heartbeat_seconds": health.heartbeat_seconds,
            "lag_warning_seconds": health.loop_lag_warning_seconds,
        }
        source = str(Path(__file__).resolve().parents[2])
        return [source, *(f"{name}={value}" for name, value in words.items())]

    def _join(self) -> bool:
        """Ask the guard that is there for its memory; return whether it gave it."""
        tie = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a timeout, connecting while others queue fails at once (unix(7), EAGAIN); so the kernel keeps the time.
        tie.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 1, 0))
        try:
            tie.connect(self._name)
            tie.settimeout(1)
            self._use(Memory(_descriptor_from(tie)))
        except (OSError, ValueError):
            tie.close()
            return False
        tie.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
        self._tie = tie
        return True

    def _use(self, memory: Memory) -> None:
        self._let_go()
        self._memory = memory
        flags = self._flags
        with contextlib.suppress(ValueError, OSError, AttributeError):  # standard error may be no file
            # Only where it is registered is the signal sent: without a handler it would end the process.
            faulthandler.register(STACKS_SIGNAL, file=sys.stderr, all_threads=True, chain=False)
            flags |= DUMPS_STACKS
        self.slot = memory.take(flags)

    def _watched(self) -> int | socket.socket | None:
        return self._tie if self._tie is not None else self._pidfd

    def _guard_died(self) -> None:
        """Start it again, a little later: one that dies at once must not keep the application busy."""
        self._let_go()
        if self._process is not None:
            self._process.wait()
            self._process = None
        self.restarts += 1
        log.warning("the guard has died; starting it again")
        self._later()

    def _later(self) -> None:
        if self._loop is not None:
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._begin_again)

    def _begin_again(self) -> None:
        try:
            begun = self._begin()
        except (ConfigurationError, OSError) as error:
            log.error("the guard cannot be started again yet: %s", error)  # noqa: TRY400 -- the line says it all
            begun = False
        if begun:
            self.attach()
            self.renewed()
        else:
            self._later()

    def _let_go(self) -> None:
        """Forget the memory of a guard and the tie to it."""
        watched = self._watched()
        if watched is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError, ValueError):
                self._loop.remove_reader(watched)
        if self._tie is not None:
            self._tie.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._tie = self._pidfd = None
        memory, self._memory, self.slot = self._memory, None, None
        if memory is not None:
            memory.close()


def _environment() -> dict[str, str]:
    """Return what the guard needs of the environment: where the interpreter's libraries are, never a setting."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED}


def _descriptor_from(tie: socket.socket) -> int:
    """Return the descriptor that is handed over on *tie* (unix(7), SCM_RIGHTS).

    Raises:
        OSError: None was.
    """
    # Closed on exec from the first moment: a process that another thread spawns just now inherits nothing.
    greeting, ancillary, _, _ = tie.recvmsg(64, socket.CMSG_SPACE(_DESCRIPTOR_BYTES), socket.MSG_CMSG_CLOEXEC)
    handed = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            handed.frombytes(data[:_DESCRIPTOR_BYTES])
    if not handed:
        raise OSError("no descriptor was handed over")
    if greeting != GREETING:
        os.close(handed[0])
        raise OSError("who answered is no guard of this version")
    return int(handed[0])


def report_max_age_seconds(settings: Settings) -> float:
    """Return from which age on a published report says nothing any more: three periods, and the longest run."""
    health = settings.health
    return 3 * max(health.readiness_max_age_seconds, 1) + health.readiness_timeout_seconds
