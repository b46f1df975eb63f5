"""`doctor probes` beside a real service: well, and with its process stopped."""

from __future__ import annotations

import asyncio
import json
import signal

from command import run
from fakes import settings_of
from served import served
from server import free_port, wait_until
from tasker_health.cli.doctor.probes import look

ENDPOINTS = ("live", "ready", "startup")


def test_a_service_that_is_well_and_one_that_is_stopped():
    """Each endpoint answers at both ports; with the process stopped the guard answers on, the application hangs."""
    port, guard = free_port(), free_port()
    settings = settings_of(server={"port": port}, guard={"port": guard, "enabled": True})
    ports = {"TASKER_SERVER__PORT": str(port), "TASKER_GUARD__PORT": str(guard)}

    def found():
        return {each.what: each for each in asyncio.run(look(settings))}

    def answer_well():
        measured = [each.measured for each in found().values()]
        return len(measured) == 2 * len(ENDPOINTS) and all(each.startswith("200 ") for each in measured)

    with served(**ports) as server:
        wait_until(answer_well, "all six answer 200")
        server.process.send_signal(signal.SIGSTOP)
        try:
            stopped = found()
        finally:
            server.process.send_signal(signal.SIGCONT)
    assert {stopped[f"server: {each}"].verdict for each in ENDPOINTS} == {"warning"}
    assert stopped["server: ready"].measured == "no answer within 3 s"
    assert stopped["guard: live"].measured.startswith("200 ")
    told = {row["what"]: row for row in json.loads(run("doctor", "probes", "--json", **ports).stdout)}
    assert told["server"]["verdict"] == told["guard"]["verdict"] == "unknown"
