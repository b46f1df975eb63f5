"""The database's faults before two peers, beside ours: what a prober of `/ready` and of `/live` gets."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.faults import FAULTS, scene
from bench.subject import Subject
from bench.table import Table
from faults.asker import Asker, Probe, ask
from faults.fault import Fault
from faults.row import AT_ONCE
from faults.scene import Scene

READY_PATIENCE_SECONDS = 20
SETTLED_SECONDS = 2  # ours answers from what it knew up to a second ago
LIVE_PROBES, LIVE_PATIENCE_SECONDS = 5, 1
_ESTABLISHED = "01"


def measure(_probes: int | None) -> Table:
    """Return what three servers answer under each fault of the database."""
    table = Table(
        "The same faults before two peers",
        ["fault and server", "/ready: code", "after s", "/live answered", "slowest ms", "connections"],
        notes=[
            f"/ready: one prober, {SETTLED_SECONDS} s into the fault; it waits {READY_PATIENCE_SECONDS} s.",
            f"/live: {LIVE_PROBES} probes in turn, each waiting {LIVE_PATIENCE_SECONDS} s, while {AT_ONCE} ask /ready.",
            "Connections: to the database meanwhile, as the kernel counts them.",
            "Ours is asked at the application's port here; probers ask the guard, which is in the table above.",
            "Peers as they document it, see bench/peers, without a timeout where they set none.",
        ],
    )
    with scene() as shared:
        for fault in filter(lambda each: each.is_database, FAULTS):
            for subject, ready in _subjects(shared.url):
                table.rows.append((f"{fault.name}: {subject.name}", *_seen(shared, fault, subject, ready)))
                print(*table.rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return table


def _subjects(url: str) -> list[tuple[Subject, str]]:
    """Return the servers, and the path of the readiness of each."""
    root = "/tasker/health"
    peer = {"BENCH_DATABASE_URL": url}
    return [
        (
            Subject("Tasker Health", "tasker_health", f"{root}/live", ("serve",), {"TASKER_DATABASE__URL": url}),
            f"{root}/ready",
        ),
        (
            Subject("django-health-check", "bench.peers.django_health_check", "/live?format=json", (), peer),
            "/ready?format=json",
        ),
        (Subject("hand-written FastAPI route", "bench.peers.hand_written", "/live", (), peer), "/ready"),
    ]


def _seen(shared: Scene, fault: Fault, subject: Subject, ready: str) -> tuple[str, ...]:
    subject.launch()
    try:
        subject.await_answer()
        ask(subject.port, ready, 10)  # opens what stays open
        fault.begin(shared)
        time.sleep(SETTLED_SECONDS)
        alone = ask(subject.port, ready, patience_seconds=READY_PATIENCE_SECONDS)[0]
        askers = Asker(subject.port, ready, 100 * AT_ONCE, at_once=AT_ONCE)
        try:
            time.sleep(1)
            connections = _connections_to(shared.proxy.port)
            live = ask(subject.port, subject.path, LIVE_PROBES, patience_seconds=LIVE_PATIENCE_SECONDS)
            connections = max(connections, _connections_to(shared.proxy.port))
        finally:
            askers.end()
    finally:
        subject.end()
        shared.revive()
    return *_told(alone), *_alive(live), str(connections)


def _told(probe: Probe) -> tuple[str, str]:
    return str(probe.code or "none"), f"{probe.seconds:.2f}" if probe.code else f"over {READY_PATIENCE_SECONDS}"


def _alive(live: list[Probe]) -> tuple[str, str]:
    answered = [probe.seconds for probe in live if probe.code == 200]
    return f"{len(answered)} of {len(live)}", f"{max(answered) * 1000:.0f}" if answered else ""


def _connections_to(port: int) -> int:
    """Return how many connections to *port* are established, as those who opened them see it."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == _ESTABLISHED for line in lines)
