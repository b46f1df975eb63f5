"""One probe before its judges: with the container that it asks, the service in it, and words for what is found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasker_health.deploy.inspection.facts import Container, Means, Probe, Role, Workload
from tasker_health.deploy.inspection.faults import Fault, Place, shown
from tasker_health.deploy.inspection.figures import port_of
from tasker_health.deploy.inspection.service import Service

OF_THE_KUBELET = frozenset({Role.LIVENESS, Role.READINESS, Role.STARTUP})

_ENDPOINTS = ("live", "ready", "startup", "status")
_GROUP_OR_CHECK = re.compile(r"ready/[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Asked:
    """One probe and whom it asks.

    Attributes:
        name: Of whom it asks, for the line that tells.
        service: As that container has it.
        container, workload: Of the probe; `None` at a balancer.
    """

    probe: Probe
    name: str
    service: Service
    container: Container | None = None
    workload: Workload | None = None

    @property
    def is_application_of_others(self) -> bool:
        """Whether the command names a server that is not ours, which listens where its own options say."""
        command = " ".join(self.container.command) if self.container is not None else ""
        servers = r"\b(uvicorn|gunicorn|granian|hypercorn|daphne|waitress-serve|uwsgi|puma|rails|manage\.py)\b"
        return re.search(servers, command) is not None

    @property
    def port(self) -> int | None:
        """The number of the port that is asked, if it can be known."""
        text = (self.probe.port.value if self.probe.port is not None else None) or ""
        number = port_of(text)
        return self.container.ports.get(text) if number is None and self.container is not None else number

    @property
    def asks_guard(self) -> bool:
        """Whether the guard is asked."""
        return self.service.guard is not False and self.port == self.service.guard_port

    @property
    def endpoint(self) -> str | None:
        """What is asked for: `live`, `ready`, `startup`, `status`; `None`: nothing of ours."""
        if self.probe.means is Means.GRPC:
            return {"liveness": "live", "startup": "startup"}.get(self.probe.service, "ready")
        path = (self.probe.path.value if self.probe.path is not None else None) or ""
        base = f"{self.service.prefix}/health"
        if not path.startswith(base) and not self.asks_guard:
            # An application can have us below a prefix of its own (root path, SCRIPT_NAME); the guard has none.
            path = path[max(path.find(f"{base}/"), 0) :]
        if path == base:
            return "status"
        rest = path.removeprefix(f"{base}/") if path.startswith(f"{base}/") else ""
        return rest if rest in _ENDPOINTS else "ready" if _GROUP_OR_CHECK.fullmatch(rest) else None

    def fault(self, rule: str, value: str, remedy: str, *, of: str = "", at: Place | None = None) -> Fault:
        """Return what is wrong with *of*, a part of the probe, *at* a place."""
        thing = f"{shown(self.name)} {shown(self.probe.thing)}" + (f".{of}" if of else "")
        return Fault(at or self.probe.place, rule, thing.strip(), shown(value), remedy)
