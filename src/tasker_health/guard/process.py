"""The guard's own process: one thread that waits for probers and for the end of those it stands in for.

Started by the application as `python -S -E -s -P -c "...; main()" key=value ...`, with the descriptors that the words
name. Standard library only, and as little of it as can be: what is imported here is held in memory by every pod.

`memory` and `listen` are descriptors: of the shared memory, and of the listening socket of probers. `owner` is the
process that started it. `prefix`, `service`, `stall_seconds`, `policy` (`all` or `any`) and `report_max_age_seconds`
come from the settings. `lifeline` is optional: the descriptor of the listening socket of sibling workers. So is
`agent`, the descriptor of the socket on which HAProxy's agent-check is answered, with `heartbeat_seconds` and
`lag_warning_seconds`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports `enum`: half a megabyte
import resource
import select
import sys
import time

from tasker_health.guard.answers import Answers
from tasker_health.guard.connections import Connections
from tasker_health.guard.following import Following
from tasker_health.guard.lifeline import Lifeline
from tasker_health.guard.log import Log
from tasker_health.guard.memory import SLOTS, Memory
from tasker_health.guard.reports import Reports
from tasker_health.guard.watch import SECOND, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasker_health.guard.agent_port import AgentPort

_TICK_SECONDS = 0.25
_LOOK_NS = 5_000_000
_FOLLOW_NS = SECOND
_PAUSE_NS = SECOND
_MOST_EVENTS = 256
_MOST_CONNECTIONS, _FEWEST_CONNECTIONS = 4096, 16
_KEPT_DESCRIPTORS = 2 * SLOTS + 64  # a worker has a pidfd and a lifeline; neither must be wanting for probers' sake
_OF_THE_AGENT = 128


def main() -> None:
    """Answer probes until the owner and all who have a slot are gone."""
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    # A terminal's Ctrl-C, a closed terminal and an impatient supervisor reach the whole group of processes; the
    # probe port is to answer until the application, which they are meant for, has ended.
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGUSR1, _signal.SIGUSR2):
        _signal.signal(number, _signal.SIG_IGN)
    _name("tasker-guard")
    GuardProcess(options).run()


class GuardProcess:
    """The guard, as *options* say."""

    def __init__(self, options: dict[str, str]) -> None:
        self._log = Log()
        self._poller = select.epoll()
        self._following = Following(self._poller)
        self._owner = self._following.follow(int(options["owner"]))
        self._memory = memory = Memory(int(options["memory"]))
        self._watch = Watch(
            memory,
            self._following,
            self._log,
            stall_seconds=float(options["stall_seconds"]),
            any_stalled=options["policy"] == "any",
        )
        reports = Reports(self._watch, options["service"], float(options["report_max_age_seconds"]))
        self._answers = Answers(reports, options["prefix"])
        kept = _KEPT_DESCRIPTORS + (_OF_THE_AGENT if "agent" in options else 0)
        self._connections = Connections(
            int(options["listen"]), self._poller, self._answers, self._log, most=_most_connections(kept)
        )
        self._lifeline = (
            Lifeline(int(options["lifeline"]), memory.descriptor, self._poller) if "lifeline" in options else None
        )
        self._agent = _agent_port(options, self._poller, self._watch, reports) if "agent" in options else None
        self._ran_at = self._looked_at = self._followed_at = 0
        self._seen = b""

    def run(self) -> None:
        """Answer probes."""
        self._ran_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._look(time.monotonic_ns())
        while not (self._owner.ended or self._memory.is_left) or self._watch.workers:
            events = self._poller.poll(_TICK_SECONDS, _MOST_EVENTS)
            now = time.monotonic_ns()
            self._notice_pause(now)
            if now - self._looked_at >= _LOOK_NS or self._memory.heads() != self._seen:
                self._look(now)
            for descriptor in self._connections.serve(events, now):
                self._serve_other(descriptor, now)
            if now - self._followed_at >= _FOLLOW_NS:
                self._followed_at = now
                self._following.look_at_all()
                self._connections.expire(now)
                if self._agent is not None:
                    self._agent.expire(now)

    def _notice_pause(self, now: int) -> None:
        """Judge nobody for the time in which this process did not run: stopped, frozen, suspended or starved.

        CLOCK_BOOTTIME also counts the time in which the machine slept.
        """
        runs_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        paused = runs_at - self._ran_at
        self._ran_at = runs_at
        if paused > _PAUSE_NS:
            self._watch.grant(now, paused)
            self._looked_at = 0
            self._log.info(f"this guard did not run for {paused / SECOND:.1f} s; heartbeats are judged anew from now")

    def _look(self, now: int) -> None:
        self._looked_at = now
        self._seen = self._memory.heads()  # before it is looked at: what changes meanwhile is looked at again
        self._watch.look(now)
        self._answers.renew(now)
        if self._agent is not None:
            self._agent.look(now)

    def _serve_other(self, descriptor: int, now: int) -> None:
        if self._agent is not None and self._agent.serve(descriptor, now):
            return
        if self._lifeline is not None and self._lifeline.serve(descriptor):
            return
        if self._following.look_behind(descriptor):
            self._look(time.monotonic_ns())


def _agent_port(options: dict[str, str], poller: select.epoll, watch: Watch, reports: Reports) -> AgentPort:
    # Imported only where it is asked for: whoever has no agent holds nothing of it in memory.
    from tasker_health.guard.agent import Agent
    from tasker_health.guard.agent_port import AgentPort
    from tasker_health.guard.load import Load

    load = Load(watch, float(options["heartbeat_seconds"]), float(options["lag_warning_seconds"]))
    return AgentPort(int(options["agent"]), poller, Agent(watch, reports, load))


def _most_connections(kept: int) -> int:
    """Return how many connections may be open beside *kept* descriptors, as the kernel allows when it is asked."""
    wanted = _MOST_CONNECTIONS + kept
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < wanted:
        allowed = wanted if at_most < 0 else min(wanted, at_most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, at_most))
    return max(_FEWEST_CONNECTIONS, min(wanted, allowed if allowed >= 0 else wanted) - kept)


def _name(name: str) -> None:
    """Have `ps` and `top` show *name*."""
    try:
        with open("/proc/self/comm", "wb", buffering=0) as comm:  # noqa: PTH123 -- pathlib is half a megabyte
            comm.write(name.encode("ascii"))
    except OSError:
        return
