"""One row of the matrix: a fault, what is asked under it, and what was seen."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from faults.asker import Asker, Probe, ask
from faults.fault import Fault
from faults.pod import LIVE, READY, STALL_SECONDS, Pod
from faults.scene import Scene

AT_ONCE = 200
LIVE_SECONDS, STALLED_SECONDS = 3.0, STALL_SECONDS + 1.5
READY_SECONDS, STALLED_READY_SECONDS = 2.0, 1.0  # the first is longer than one answer serves, so that runs are met
HURRIED_BLOCK_SECONDS = 3
_SETTLING_SECONDS = 15


@dataclass
class Outcome:
    """What was seen of one fault.

    Attributes:
        idle: `/live` of the guard before it, on new connections, nothing else being asked.
        live: The same under it.
        wrong: Those probes of `/live` and `/ready`, under it, that were not answered as they must be.
        ready: `/ready` under it, by who was asked: `guard`, and `application` where it can answer.
        back_seconds: From its end to ready, at the guard and at the application, and to a cache that is well.
        before: Threads, descriptors and database connections.
        after: The same after it.
        end_seconds: From SIGTERM under it to the end of the process; `None`: it did not end.
        guard_gone: Whether the guard ended then.
        log: Of the application.
    """

    fault: Fault
    idle: list[Probe] = field(default_factory=list)
    live: list[Probe] = field(default_factory=list)
    wrong: list[Probe] = field(default_factory=list)
    ready: dict[str, list[Probe]] = field(default_factory=dict)
    back_seconds: float = math.inf
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    end_seconds: float | None = None
    guard_gone: bool = False
    log: str = ""

    @property
    def leaks(self):
        """What is more or less than before by more than 1, and by how much."""
        return {name: self.after[name] - n for name, n in self.before.items() if abs(self.after[name] - n) > 1}


def play(scene: Scene, fault: Fault, *, probes: int, idle_probes: int = 0) -> Outcome:
    """Return what is seen of *fault* with so many *probes* of each kind."""
    pod = scene.pod = Pod(scene.url, scene.cache_url if fault.cache_reasons else "")
    outcome = Outcome(fault)
    try:
        _settle(scene, outcome)
        seconds = STALLED_SECONDS if fault.stalls else LIVE_SECONDS
        if idle_probes:
            outcome.idle = ask(pod.guard_port, LIVE, idle_probes, seconds=seconds)
        began = time.monotonic()
        fault.begin(scene)
        _ask_live(scene, outcome, probes, seconds, began)
        _ask_ready(scene, outcome, probes, began)
        fault.end(scene)
        ended = time.monotonic()
        for port in (pod.guard_port, pod.port):
            back = pod.wait_for_reasons(port, ()) if fault.cache_reasons else pod.wait_for(port, 200)
        outcome.back_seconds = back - ended
        _count(scene, outcome)
        _terminate(scene, outcome)
    finally:
        outcome.log = pod.log
        scene.pod = None
        pod.end()
        scene.revive()
    return outcome


def quantile(probes: list[Probe], share: float) -> float:
    """Return the milliseconds that *share* of the *probes* took at most."""
    took = sorted(probe.seconds for probe in probes)
    return took[max(0, math.ceil(share * len(took)) - 1)] * 1000 if took else math.nan


def _settle(scene: Scene, outcome: Outcome) -> None:
    """Ask for the first time, which opens what stays open, and count."""
    ask(scene.pod.port, READY, AT_ONCE, at_once=AT_ONCE)
    ask(scene.pod.guard_port, READY, AT_ONCE, at_once=AT_ONCE)
    outcome.before = _counts(scene)


def _counts(scene: Scene) -> dict[str, int]:
    return {**scene.pod.counts(), "database connections": scene.connections()}


def _ask_live(scene: Scene, outcome: Outcome, probes: int, seconds: float, began: float) -> None:
    outcome.live = ask(scene.pod.guard_port, LIVE, probes, seconds=seconds)
    _judge_live(scene, outcome, outcome.live, began)


def _judge_live(scene: Scene, outcome: Outcome, live: list[Probe], began: float) -> None:
    def is_right(probe: Probe) -> bool:
        if not outcome.fault.stalls or probe.sent_at + probe.seconds < began + STALL_SECONDS - 0.3:
            return probe.code == 200
        if probe.sent_at > began + STALL_SECONDS + 1 and probe.sent_at + probe.seconds < scene.ends_at:
            return probe.code == 503 and "event_loop_stalled" in probe.reasons
        return probe.code in {200, 503}

    outcome.wrong += [probe for probe in live if not is_right(probe)]


def _ask_ready(scene: Scene, outcome: Outcome, probes: int, began: float) -> None:
    """Ask the guard, and the application, with many at once; ask `/live` meanwhile."""
    fault, pod = outcome.fault, scene.pod
    code = 503 if fault.reasons else 200
    seconds = STALLED_READY_SECONDS if fault.stalls else READY_SECONDS
    asked = {"guard": pod.guard_port, **({"application": pod.port} if fault.asks_application else {})}
    for name, port in asked.items():
        pod.wait_for(port, code)
        if fault.cache_reasons:
            pod.wait_for_reasons(port, fault.cache_reasons)
        live = Asker(pod.guard_port, LIVE, 50)
        try:
            ready = ask(port, READY, probes, at_once=AT_ONCE, seconds=seconds)
            _judge_live(scene, outcome, live.probes(), began)
        finally:
            live.end()
        if fault.stalls:
            ready = [probe for probe in ready if probe.sent_at + probe.seconds < scene.ends_at]
        outcome.ready[name] = ready
        outcome.wrong += [probe for probe in ready if not _is_right(fault, probe, code)]


def _is_right(fault: Fault, probe: Probe, code: int) -> bool:
    """Return whether *probe* of `/ready` was answered with *code* and a reason of *fault*, or was starved truly."""
    if fault.starves and probe.code == 503:
        return bool({"timeout", "stalled"} & set(probe.reasons))
    expected = {*fault.reasons, *fault.cache_reasons}
    return probe.code == code and (not expected or bool(expected & set(probe.reasons)))


def _count(scene: Scene, outcome: Outcome) -> None:
    """Count until it is as before, or for some time: what was given up may take a moment to end."""
    ends_at = time.monotonic() + _SETTLING_SECONDS
    while True:
        outcome.after = _counts(scene)
        if not outcome.leaks or time.monotonic() > ends_at:
            return
        time.sleep(0.1)


def _terminate(scene: Scene, outcome: Outcome) -> None:
    """Do it once more, and end the application under it."""
    scene.block_seconds = HURRIED_BLOCK_SECONDS
    outcome.fault.begin(scene)
    outcome.end_seconds = scene.pod.terminate()
    outcome.guard_gone = scene.pod.guard_is_gone()
