"""The service that manifests are judged for: the settings in force, with what a container sets over them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasker_health.deploy.inspection.facts import Written
from tasker_health.deploy.inspection.faults import Fault
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings

_GROUPS = ("TASKER_SERVER__", "TASKER_GUARD__", "TASKER_HEALTH__", "TASKER_GRPC__")
_REFERENCES = ("$(", "${", "%")

SettingsWith = Callable[[Mapping[str, str]], Settings]
"""Returns the settings in force when these variables are set, too; raises `SettingsError`."""


@dataclass(frozen=True)
class Service:
    """What a prober meets.

    Attributes:
        prefix: Above every path of ours.
        port, host: Where the endpoints are served; `None`: on an address that only the cluster knows.
        guard_port, guard_host: Where the guard answers.
        guard: Whether there is one; `None`: for `serve` and `demo` only.
        grpc_port: Where gRPC is answered; `None`: nowhere.
        secure: Whether the server speaks TLS; the guard never does.
        deadline_seconds: How long we may take to answer `/ready`.
        drain_seconds: How long requests are answered after SIGTERM.
        stall_seconds: Silence that counts as wedged.
    """

    prefix: str
    port: int
    host: str | None
    guard: bool | None
    guard_port: int
    guard_host: str | None
    grpc_port: int | None
    secure: bool
    deadline_seconds: float
    drain_seconds: float
    stall_seconds: float

    def path(self, endpoint: str) -> str:
        """Return the path of *endpoint*, such as `live`."""
        return f"{self.prefix}/health/{endpoint}"

    @property
    def probe_port(self) -> int:
        """Where probers ask."""
        return self.port if self.guard is False else self.guard_port


def service_of(settings: Settings, environment: Mapping[str, Written] | None = None) -> Service:
    """Return the service of *settings*; an address that *environment* leaves to the cluster is not known."""
    server, guard, grpc, health = settings.server, settings.guard, settings.grpc, settings.health
    environment = environment or {}
    host: str | None = server.host
    if _is_elsewhere(environment.get("TASKER_SERVER__HOST")):
        host = None
    guard_host = guard.host or host
    if _is_elsewhere(environment.get("TASKER_GUARD__HOST")):
        guard_host = None
    return Service(
        prefix=server.prefix,
        port=server.port,
        host=host,
        guard=guard.enabled,
        guard_port=guard.port,
        guard_host=guard_host,
        grpc_port=grpc.port if grpc.enabled else None,
        secure=server.tls_certificate_file is not None,
        deadline_seconds=health.readiness_timeout_seconds,
        drain_seconds=server.drain_seconds,
        stall_seconds=health.liveness_stall_seconds,
    )


def service_in(
    environment: Mapping[str, Written], settings_with: SettingsWith, thing: str
) -> tuple[Service, list[Fault]]:
    """Return the service as *environment* has it, and what in that keeps it from starting."""
    given = {name: each.value for name, each in environment.items() if each.value is not None and _is_plain(name, each)}
    faults: list[Fault] = []
    while True:
        try:
            return service_of(settings_with(given), environment), faults
        except SettingsError as error:
            name = error.key
            if name not in given:
                return service_of(settings_with({}), environment), faults
            del given[name]
            faults.append(
                Fault(environment[name].place, "setting-invalid", f"{thing} {name}", error.value, error.allowed)
            )


def is_loopback(host: str | None) -> bool:
    """Whether only this machine, or this container, can reach *host*."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def _is_elsewhere(variable: Written | None) -> bool:
    return variable is not None and (variable.value is None or variable.value.startswith(_REFERENCES))


def _is_plain(name: str, variable: Written) -> bool:
    """Whether *variable* can be judged here: of the groups that probers meet, with its value in the manifest."""
    reads_file = name.endswith("_FILE") and "__TLS_" not in name
    return name.startswith(_GROUPS) and not reads_file and not _is_elsewhere(variable)
